// The week of a schedule's form: arrows, drag, heads and presets over the grid's checkboxes, and its JSON in step. Without this they are plain boxes.
"use strict";
(() => {
  const week = document.getElementById("week");
  if (!week) return;
  const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
  const boxes = [...week.querySelectorAll("input")];
  const at = (half, day) => boxes[half * 7 + day];
  const json = document.getElementById("schedule_json");
  const note = document.getElementById("week-note");
  const mode = (value) => {
    document.querySelector(`input[name=mode][value=${value}]`).checked = true;
  };
  const inGrid = () => document.querySelector("input[name=mode]:checked")?.value === "grid";
  const clock = (half) => `${String(half >> 1).padStart(2, "0")}:${half % 2 ? "30" : "00"}`;
  const say = (text) => {
    note.textContent = text;
    note.hidden = !text;
  };

  // Windows as the server makes them of the cells: days with the same hours together.
  const written = () => {
    const found = new Map();
    days.forEach((name, day) => {
      for (let half = 0; half < 48; half++) {
        if (!at(half, day).checked || (half && at(half - 1, day).checked)) continue;
        let end = half;
        while (end < 48 && at(end, day).checked) end++;
        const key = half * 100 + end;
        if (!found.has(key)) found.set(key, { days: [], start_time: clock(half), end_time: clock(end) });
        found.get(key).days.push(name);
      }
    });
    return [...found.keys()].sort((a, b) => a - b).map((key) => found.get(key));
  };
  const changed = () => {
    mode("grid");
    say("");
    json.value = JSON.stringify(written(), null, 2);
  };

  // The half hours of what is typed: null where it is no schedule yet, false where it is not on half hours.
  const half = (text) => {
    const match = /^([01]\d|2[0-4]):([0-5]\d)$/.exec(text);
    if (!match) return null;
    const minutes = Number(match[1]) * 60 + Number(match[2]);
    return minutes % 30 ? false : minutes / 30;
  };
  const parsed = (text) => {
    let windows;
    try {
      windows = JSON.parse(text);
    } catch {
      return null;
    }
    const cells = new Set();
    for (const window of Array.isArray(windows) ? windows : [windows]) {
      if (!window || typeof window !== "object") return null;
      const [from, to] = window.start_time === undefined && window.end_time === undefined ? [0, 48] : [half(window.start_time), half(window.end_time)];
      if (from === null || to === null) return null;
      if (from === false || to === false) return false;
      for (const name of window.days || days) {
        const day = days.indexOf(name);
        if (day < 0) return null;
        for (let cell = from; cell < (from < to ? to : 48); cell++) cells.add(cell * 7 + day);
        if (from >= to) for (let cell = 0; cell < to; cell++) cells.add(cell * 7 + ((day + 1) % 7));
      }
    }
    return cells;
  };
  json.addEventListener("input", () => {
    const cells = parsed(json.value);
    if (cells === null) {
      if (inGrid()) mode("json");
      return say("The grid follows when the JSON is a schedule. What is saved now is the JSON.");
    }
    if (cells === false) {
      mode("json");
      boxes.forEach((box) => (box.checked = false));
      return say("These hours are not on half hours: they are saved exactly as written, and the grid does not show them.");
    }
    say("");
    boxes.forEach((box, place) => (box.checked = cells.has(place)));
  });

  // One box is reached by Tab, the others by arrows.
  let here = 0;
  const go = (place) => {
    boxes[here].tabIndex = -1;
    here = place;
    boxes[here].tabIndex = 0;
    boxes[here].focus();
  };
  boxes.forEach((box, place) => (box.tabIndex = place ? -1 : 0));
  week.addEventListener("focusin", (event) => {
    const place = boxes.indexOf(event.target);
    if (place < 0 || place === here) return;
    boxes[here].tabIndex = -1;
    here = place;
    boxes[here].tabIndex = 0;
  });
  week.addEventListener("keydown", (event) => {
    if (!boxes.includes(event.target)) return;
    const steps = { ArrowLeft: here % 7 ? -1 : 0, ArrowRight: here % 7 < 6 ? 1 : 0, ArrowUp: here >= 7 ? -7 : 0, ArrowDown: here < 329 ? 7 : 0, Home: -here + (here % 7), End: 329 + (here % 7) - here };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const kept = boxes[here].checked;
    if (steps[event.key]) go(here + steps[event.key]);
    // With Shift the state of the cell before goes on.
    if (event.shiftKey && boxes[here].checked !== kept) {
      boxes[here].checked = kept;
      changed();
    }
  });
  week.addEventListener("change", changed);

  // A drag gives every cell the state that the first one got.
  let painting = null;
  week.addEventListener("pointerdown", (event) => {
    if (boxes.includes(event.target) && event.pointerType === "mouse") painting = !event.target.checked;
  });
  week.addEventListener("pointerover", (event) => {
    if (painting === null || !event.buttons || !boxes.includes(event.target) || event.target.checked === painting) return;
    event.target.checked = painting;
    changed();
  });
  week.addEventListener("pointerout", (event) => {
    // The first cell of a drag: a click that leaves it is none.
    if (painting === null || !event.buttons || !boxes.includes(event.target) || event.target.checked === painting) return;
    event.target.checked = painting;
    changed();
  });
  addEventListener("pointerup", () => (painting = null));

  const toggle = (some) => {
    const tick = some.some((box) => !box.checked);
    some.forEach((box) => (box.checked = tick));
    changed();
  };
  const button = (head, label, some) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = head.textContent;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", () => toggle(some));
    head.replaceChildren(made);
  };
  week.querySelectorAll("th[data-day]").forEach((head, day) => button(head, `All of ${head.dataset.name}`, boxes.filter((_, place) => place % 7 === day)));
  week.querySelectorAll("th[data-half]").forEach((head, row) => button(head, `${head.textContent} on all days`, boxes.slice(row * 7, row * 7 + 7)));

  for (const preset of document.querySelectorAll("button[data-preset]")) {
    preset.addEventListener("click", () => {
      const [names, from, to] = preset.dataset.preset.split(" ");
      boxes.forEach((box, place) => (box.checked = names.split(",").includes(days[place % 7]) && Math.floor(place / 7) >= from && Math.floor(place / 7) < to));
      changed();
    });
  }
  if (inGrid() && boxes.some((box) => box.checked)) json.value = JSON.stringify(written(), null, 2);
  // The grid begins where a working day does.
  const show = () => (document.querySelector(".week-box").scrollTop = 17 * 26);
  document.querySelectorAll("input[name=mode]").forEach((radio) => radio.addEventListener("change", show));
  show();
})();
