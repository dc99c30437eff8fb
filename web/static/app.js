// The page works without this; with it the state in the address changes without a reload, times get the viewer's zone, and a lost server shows.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const live = document.getElementById("live");
  const zoneIsUtc = new Date().getTimezoneOffset() === 0;
  const shapes = {
    time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    minute: { hour: "2-digit", minute: "2-digit" },
    date: { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  };
  const formats = {};
  for (const how of Object.keys(shapes)) formats[how] = new Intl.DateTimeFormat("en-GB", { ...shapes[how], hourCycle: "h23" });

  // The viewer's own time after each UTC one. Spans are kept out of the morph (hx-morph-skip), so they do not flicker.
  const localTimes = (root) => {
    if (zoneIsUtc) return;
    for (const time of root.querySelectorAll("time[datetime]")) {
      const zone = time.nextElementSibling;
      if (!zone || !zone.classList.contains("zone")) continue;
      const at = new Date(time.dateTime);
      // The date only where it is another one here than in UTC.
      const how = time.dataset.how === "date" && at.getDate() === at.getUTCDate() ? "time" : time.dataset.how;
      const text = ` (${formats[how].format(at)} here)`;
      if (zone.textContent !== text) zone.textContent = text;
    }
    for (const zone of root.querySelectorAll(".zone-only[data-at]")) {
      const at = new Date(Number(zone.dataset.at));
      const near = at - Date.now() < 86400000;
      const text = ` (${(near ? formats.minute : formats.date).format(at)} here)`;
      if (zone.textContent !== text) zone.textContent = text;
    }
  };
  localTimes(document);

  // Messages stay until they are dismissed. Those that came with the page are put in again, so that screen readers tell them too.
  const toasts = document.getElementById("toasts");
  setTimeout(() => toasts.append(...toasts.children), 100);
  toasts.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dismiss]");
    if (!link) return;
    event.preventDefault();
    link.closest(".toast").remove();
  });

  const problems = document.getElementById("problems");
  if (problems) (document.querySelector("[aria-invalid='true']") || problems).focus();
  if (!live) return;

  const refresh = () => window.htmx && htmx.trigger(live, "refresh");
  const go = (address) => {
    history.replaceState(null, "", address);
    refresh();
  };

  // Every fetch of the fragment carries the page's address, which is its whole state.
  const poll = document.getElementById("poll");
  document.addEventListener("htmx:config:request", (event) => {
    const { request, sourceElement } = event.detail.ctx;
    if (sourceElement !== live && sourceElement !== poll) return;
    if (document.hidden && sourceElement === poll) event.preventDefault();
    request.action = request.action.split("?")[0] + location.search;
  });
  // A button's answer shows the page as it stood when the button was pressed: a poll or a filter since then comes after it.
  document.addEventListener("htmx:finally:request", (event) => event.detail.ctx.request.method.toUpperCase() === "POST" && refresh());
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  document.addEventListener("htmx:after:swap", () => localTimes(live));

  // Opening and folding: the link's own address, without loading the page anew.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-state]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(link.getAttribute("href"));
    const filter = new URLSearchParams(location.search);
    document.getElementById("q").value = filter.get("q") || "";
    document.getElementById("cause").value = filter.get("cause") || "";
  });

  const form = document.getElementById("filter");
  const applyFilter = () => {
    const state = new URLSearchParams(location.search);
    for (const name of ["q", "cause"]) {
      const value = form.elements[name].value.trim();
      if (value) state.set(name, value);
      else state.delete(name);
    }
    state.delete("fold");
    const query = state.toString();
    go(query ? `/?${query}` : "/");
  };
  let typing;
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(applyFilter, 250);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    applyFilter();
  });

  // What this page says when its own server does not answer.
  const lost = document.getElementById("lost");
  let heardAt = new Date();
  document.addEventListener("htmx:after:request", () => {
    heardAt = new Date();
    lost.hidden = true;
  });
  document.addEventListener("htmx:error", (event) => {
    if (!event.detail.ctx) return;
    document.getElementById("lost-at").textContent = formats.time.format(heardAt);
    lost.hidden = false;
  });
})();
