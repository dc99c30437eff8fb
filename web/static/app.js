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

  // A text is fetched when its button is pressed, and goes to the clipboard; where that is closed to pages, it is opened to be copied by hand.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    try {
      const answer = await fetch(button.dataset.copy);
      if (!answer.ok) throw new Error(answer.statusText);
      await navigator.clipboard.writeText(await answer.text());
      button.textContent = "Copied";
    } catch {
      location.assign(button.dataset.copy);
    }
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
    // What has not changed is not sent again.
    if (live.dataset.etag) request.headers["If-None-Match"] = `"${live.dataset.etag}"`;
  });
  const fresh = document.getElementById("fresh");
  const tellAge = (age, oldest) => {
    if (!fresh) return;
    fresh.classList.toggle("late", age >= 5 && age < 15);
    fresh.classList.toggle("old", age >= 15);
    document.getElementById("fresh-words").textContent = age < 5 ? `live, ${age.toFixed(1)} s` : `${oldest} ${age.toFixed(0)} s old`;
  };
  if (fresh) tellAge(Number(fresh.dataset.age), fresh.dataset.oldest);
  document.addEventListener("htmx:after:request", (event) => {
    const { response, sourceElement } = event.detail.ctx;
    if ((sourceElement !== live && sourceElement !== poll) || !response || !response.headers.get("Figures-Age")) return;
    const etag = response.headers.get("ETag");
    if (etag) live.dataset.etag = etag.replace(/^W\/|"/g, "");
    tellAge(Number(response.headers.get("Figures-Age")), response.headers.get("Figures-Oldest"));
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
    if (!form) return;
    const filter = new URLSearchParams(location.search);
    for (const name of names) form.elements[name].value = filter.get(name) || "";
  });

  const form = document.getElementById("filter");
  const names = [...(form ? form.elements : [])].filter((field) => field.name && field.type !== "hidden").map((field) => field.name);
  const applyFilter = () => {
    const state = new URLSearchParams(location.search);
    for (const name of names) {
      const value = form.elements[name].value.trim();
      if (value) state.set(name, value);
      else state.delete(name);
    }
    state.delete("fold");
    state.delete("page");
    const query = state.toString();
    const path = form.getAttribute("action");
    go(query ? `${path}?${query}` : path);
  };
  let typing;
  form?.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(applyFilter, 80);
  });
  form?.addEventListener("submit", (event) => {
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
