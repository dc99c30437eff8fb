// Keeps what is ticked in a list while the list refreshes itself and over its pages. Without this the boxes of one page count.
"use strict";
(() => {
  const form = document.getElementById("bulk");
  if (!form) return;
  const KEY = `bulk:${location.pathname}`;
  const count = document.getElementById("bulk-count");
  const clear = document.getElementById("bulk-clear");
  const ticked = new Set(JSON.parse(sessionStorage.getItem(KEY) || "[]"));
  const boxes = () => document.querySelectorAll("input[type=checkbox][form=bulk][name]");
  // "All that match" is of one filter: another filter unticks it.
  const name = (box) => (box.name === "all" ? `all ${box.dataset.filter || ""}` : `${box.name} ${box.value}`);
  const show = () => {
    const all = [...boxes()].some((box) => box.name === "all" && box.checked);
    const number = [...ticked].filter((one) => !one.startsWith("all ")).length;
    count.textContent = all ? "All that match" : number ? `${number} selected` : "";
    clear.hidden = !ticked.size;
    form.classList.toggle("chosen", ticked.size > 0);
    sessionStorage.setItem(KEY, JSON.stringify([...ticked]));
  };
  const restore = () => {
    for (const box of boxes()) box.checked = ticked.has(name(box));
    const all = [...boxes()].filter((box) => box.name === "all").map(name);
    for (const one of ticked) if (one.startsWith("all ") && !all.includes(one)) ticked.delete(one);
    for (const head of document.querySelectorAll("input[data-page]")) {
      const rows = [...boxes()].filter((box) => box.name === head.dataset.page);
      head.checked = rows.length > 0 && rows.every((box) => box.checked);
    }
    show();
  };
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.form !== form || box.type !== "checkbox") return;
    if (box.dataset.page !== undefined) {
      for (const other of boxes()) if (other.name === box.dataset.page) ticked[box.checked ? "add" : "delete"](name(other));
      restore();
      return;
    }
    ticked[box.checked ? "add" : "delete"](name(box));
    restore();
  });
  clear.addEventListener("click", () => {
    ticked.clear();
    restore();
  });
  form.addEventListener("submit", () => {
    for (const old of form.querySelectorAll("input[data-elsewhere]")) old.remove();
    const here = new Set([...boxes()].map(name));
    for (const one of ticked) {
      if (here.has(one) || one.startsWith("all ")) continue;
      const [field, value] = one.split(" ");
      const input = Object.assign(document.createElement("input"), { type: "hidden", name: field, value });
      input.dataset.elsewhere = "";
      form.append(input);
    }
    sessionStorage.removeItem(KEY);
  });
  document.addEventListener("htmx:after:swap", restore);
  window.addEventListener("pageshow", restore);
  restore();
})();
