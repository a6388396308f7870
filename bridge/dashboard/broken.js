// What is broken: faults of the bridge, and the receivers that fail, by cause, with advice.

/** Failed registrations stay in the list for weeks. Only recent ones count as broken. */
const RECENT_DAYS = 7;
const SHOWN_FAULTS = 5;

const broken = {
  /** The answers to previews of a redelivery, by state: null before the first one. */
  pending: null, dead: null,
  /** The faults of the bridge itself. */
  faults: [],
};

const recently = () => agoOf(RECENT_DAYS * 86400);

/** Counts the registrations of a state by host and outcome. Changes nothing. */
async function readBroken(state) {
  broken[state] = await call("POST", "redeliver", { states: [state], since: recently(), limit: MOST_OF_A_CALL, dryRun: true });
  drawBroken();
}

/** The failing receivers, by host and outcome, the largest group first. */
function failures() {
  const groups = new Map();
  for (const state of ["pending", "dead"]) {
    for (const { host: name, outcome, count } of broken[state]?.byHost ?? []) {
      if (outcome === null) continue; // not attempted yet
      const key = JSON.stringify([name, outcome]);
      const group = groups.get(key) ?? { host: name, outcome, pending: 0, dead: 0 };
      group[state] += count;
      groups.set(key, group);
    }
  }
  return [...groups.values()].sort((one, other) => other.pending + other.dead - one.pending - one.dead);
}

const retrying = () => failures().reduce((sum, each) => sum + each.pending, 0);

function failureLine(group) {
  const { host: name, outcome, pending, dead } = group;
  const states = ["pending", "dead"].filter((state) => group[state]);
  const filter = { state: states.join(","), host: name, outcome };
  return el("li", {},
    el("div", {},
      el("p", {}, el("strong", { class: "url" }, name), " ", el("span", { class: pending ? "retrying" : "wrong" }, outcomeLabel(outcome)), ": ",
        [pending && `${pending.toLocaleString("en")} retrying`, dead && `${dead.toLocaleString("en")} failed`].filter(Boolean).join(", ")),
      told(ofAttempt(attemptOf(outcome)))),
    el("p", { class: "actions" },
      el("button", { type: "button", "data-focus": `show ${name} ${outcome}`, click: () => go({ filter }) }, "Show these"),
      el("button", { type: "button", "data-focus": `again ${name} ${outcome}`, click: () => redeliverMany({ states, host: name, outcome }) }, "Redeliver …")));
}

/** A fault of the bridge: its sweeps, its queue or a source. */
const faultLine = ({ where, what, at, form, detail, advice }) => el("li", {}, el("div", {},
  el("p", {}, el("strong", {}, where), " ", el("span", { class: "wrong" }, what, at && when(at, form))),
  (detail || advice) && el("p", { class: "hint" }, detail && el("strong", {}, `${detail}. `), advice && `${capital(advice)}.`)));

function drawBroken() {
  const found = failures(), areRead = broken.pending !== null && broken.dead !== null;
  const isPart = [broken.pending, broken.dead].some((each) => each?.more);
  drawRetrying();
  show(byId("broken"), [broken.faults, found, areRead, isPart], () => {
    const lines = [...broken.faults.map(faultLine), ...found.map(failureLine)];
    if (!lines.length) return areRead && el("p", { class: "ok" }, `✓ No callback is being retried, and none failed in the last ${RECENT_DAYS} days.`);
    return [
      el("ul", { class: "faults" }, ...lines.slice(0, SHOWN_FAULTS)),
      lines.length > SHOWN_FAULTS && fold("more faults", `${lines.length - SHOWN_FAULTS} more`, el("ul", { class: "faults" }, ...lines.slice(SHOWN_FAULTS))),
      isPart && el("p", { class: "quiet" }, "There are more: the bridge counts a bounded part of its list."),
    ];
  });
}

/** Shows in the card of pending registrations how many of them failed before. */
function drawRetrying() {
  const place = document.querySelector('[data-state="pending"] small');
  if (place) place.textContent = retrying() ? `${retrying().toLocaleString("en")} retrying` : "";
}
