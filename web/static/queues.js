// Fills the job pages with what rq-dashboard reads. Everything is put in as text: nothing that stands in Redis becomes part of the page itself.
"use strict";
(() => {
  const list = document.querySelector("[data-kind]");
  if (!list) return;
  const unread = document.getElementById("unread");
  const again = document.getElementById("again");
  const body = list.tBodies ? list.tBodies[0] : list;

  const make = (tag, inside, more = {}) => {
    const made = Object.assign(document.createElement(tag), more);
    made.append(...[inside ?? ""].flat());
    return made;
  };
  const at = (instant) => {
    const parts = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/.exec(instant || "");
    return parts ? `${parts[1]} ${parts[2]} UTC` : "-";
  };
  // Addresses come from our server and stay on this site.
  const link = (address, inside) => (/^\/[^/\\]/.test(address || "") ? make("a", inside, { href: address }) : make("span", inside));
  const button = (address, inside, ask) => {
    const made = make("button", inside, { type: "button", className: "outline" });
    made.dataset.post = address;
    if (ask) made.dataset.ask = ask;
    return made;
  };
  const cell = (label, inside, number) => {
    const made = make("td", inside, { className: number ? "num" : "" });
    made.dataset.label = label;
    return made;
  };
  const head = (inside) => make("th", inside, { scope: "row" });
  const rows = (made, none) => {
    const columns = list.tHead.rows[0].cells.length;
    body.replaceChildren(...(made.length ? made : [make("tr", make("td", none, { colSpan: columns }))]));
  };
  const trace = (text) => {
    const made = make("pre", text, { className: "trace", tabIndex: 0, role: "region", ariaLabel: "Error" });
    return made;
  };

  const show = {
    queues({ queues }) {
      const counts = [["Queued", "queued_url", "count"]].concat(
        ["Deferred", "Scheduled", "Started", "Finished", "Failed", "Canceled"].map((name) => {
          const low = name.toLowerCase();
          return [name, `${low}_url`, `${low}_job_registry_count`];
        }),
      );
      const row = (queue) => make("tr", [head(queue.name), ...counts.map(([label, to, count]) => cell(label, link(queue[to], String(queue[count])), true))]);
      rows(queues.map(row), "No queues.");
    },
    workers({ workers }) {
      const current = (job) => {
        if (typeof job === "string") return job;
        return job.unread ? `cannot be read: ${job.unread}` : link(job.view_url, job.description || job.job_id);
      };
      const row = (worker) =>
        make("tr", [head(worker.name), cell("State", worker.state), cell("Current job", current(worker.current_job)), cell("Queues", worker.queues.join(", "))]);
      rows(workers.map(row), "No workers.");
    },
    jobs({ jobs, pagination }) {
      const row = (job) => {
        const named = head([make("span", job.description || job.unread || "", { className: "said" }), make("small", link(job.view_url, job.id))]);
        if (job.exc_info) named.append(make("small", `Failed ${at(job.ended_at)}`), trace(job.exc_info));
        const tools = [button(job.delete_url, "Delete", "Delete this job for good?")];
        if (job.exc_info) tools.unshift(button(job.requeue_url, "Requeue"));
        return make("tr", [named, cell("Created", at(job.created_at)), cell("Do", tools)]);
      };
      rows(jobs.map(row), "No jobs.");
      const { current_page: now, num_pages: most, prev_page: before, next_page: after } = pagination;
      const pages = document.getElementById("pages");
      pages.replaceChildren(`Page ${now} of ${Math.max(most, 1)}. `);
      if (before) pages.append(link(before.url, "Before"), " ");
      if (after) pages.append(link(after.url, "After"));
    },
    job(job) {
      const whole = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? null));
      const needs = (job.depends_on || []).map((id, i) => `${id} (${(job.depends_on_status || [])[i]})`).join(", ");
      const facts = [
        ["Cannot be read", job.unread], ["Description", job.description], ["Queue", job.origin], ["Status", job.status], ["Result", whole(job.result)],
        ["Notes", job.metadata], ["Depends on", needs], ["Created", at(job.created_at)], ["Enqueued", at(job.enqueued_at)],
        ["Started", at(job.started_at)], ["Ended", at(job.ended_at)],
      ];
      const made = facts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", name), make("dd", value)]);
      if (job.exc_info) made.push(make("dt", "Error"), make("dd", trace(job.exc_info)));
      list.replaceChildren(...made);
      document.getElementById("requeue").hidden = job.status !== "failed";
    },
  };

  const say = (text) => {
    unread.textContent = text;
    unread.hidden = !text;
  };
  const reload = async () => {
    try {
      const answer = await fetch(list.dataset.source, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) throw new Error(`the answer was ${answer.status}`);
      show[list.dataset.kind](await answer.json());
      say("");
    } catch (error) {
      say(`This could not be read (${error.message}). Reload the page to see why.`);
    }
  };
  const sure = (question) => {
    if (!question) return Promise.resolve(true);
    const dialog = document.getElementById("sure");
    document.getElementById("sure-what").textContent = question;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((settle) => dialog.addEventListener("close", () => settle(dialog.returnValue === "yes"), { once: true }));
  };

  document.addEventListener("click", async (event) => {
    const pressed = event.target.closest("button[data-post]");
    if (!pressed || !(await sure(pressed.dataset.ask))) return;
    const answer = await fetch(pressed.dataset.post, { method: "POST" }).catch(() => ({ ok: false, status: "none" }));
    if (answer.ok && pressed.dataset.then) return location.assign(pressed.dataset.then);
    await reload();
    if (!answer.ok) say(`That was refused (${answer.status}): nothing was changed.`);
  });
  const loop = async () => {
    // What is being read or is under the keyboard is not taken away.
    const busy = body.contains(document.activeElement) || !again.checked || document.hidden;
    if (!busy) await reload();
    setTimeout(loop, Number(list.dataset.poll) || 2500);
  };
  reload().then(() => setTimeout(loop, Number(list.dataset.poll) || 2500));
})();
