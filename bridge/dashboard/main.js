// Reads the data again and again while the page is visible, and reports failures.

// Each call costs money on Azure. So the page reads every 5 s at first, then ever more slowly: the pause is a tenth of
// the time since the last interaction, and from 10 minutes on the page makes one call a minute.
const EVERY = 5000, LONGEST = 60000, IDLE = 600000;
/** Reads that change slowly or cost more are repeated once a minute. */
const SLOW_EVERY = 60000;

let sources = [], running = null, seenAt = null;
let touchedAt = Date.now(), readAt = 0, slowAt = 0, turn = 0;

const sourceOf = (name) => sources.find((each) => each.name === name);

const counted = ({ count, more }) => el("b", { title: more ? `more than ${count.toLocaleString("en")}: counting stops there` : null }, `${count.toLocaleString("en")}${more ? "+" : ""}`);

const sumOf = (counts) => ({ count: counts.reduce((sum, each) => sum + each.count, 0), more: counts.some((each) => each.more) });

function card(state, label, value) {
  return el("button", { type: "button", class: `figure ${state}`, "data-state": state, "data-focus": `card ${state}`, title: state, click: () => go({ filter: withFilter("state", state) }) },
    el("span", { class: "quiet" }, label), value, state === "pending" && el("small", { class: "retrying" }));
}

/** The cards. `counts` is null for owners, who cannot read them. */
function drawCounts(counts) {
  show(byId("counts"), counts, () => [
    card("", "all", counts && counted(sumOf(Object.values(counts)))),
    ...STATES.map((state) => card(state, word(state), counts && counted(counts[state]))),
  ]);
  drawControls();
  drawRetrying();
}

/** The condition of a source: words, perhaps with a time, and whether it is good. */
function condition({ pausedUntil, unreachableSince, problem, stoppedUntil }) {
  const isAhead = (moment) => moment && Date.parse(moment) > Date.now();
  if (isAhead(pausedUntil)) return { words: "paused for ", at: pausedUntil, form: "left" };
  if (unreachableSince) return { words: "no answer for ", at: unreachableSince, form: "since" };
  if (problem) return { words: "refused, and polled again" };
  if (isAhead(stoppedUntil)) return { words: "too many requests (429), stopped for ", at: stoppedUntil, form: "left" };
  return { words: "polling", isGood: true };
}

const LATEST_SWEEP = 120000, OVERDUE = 120000;
const older = (moment, age) => Date.now() - Date.parse(moment) > age;

/** The faults that the status shows. Ages are those at the read: a page that reads rarely raises no alarm. */
function faultsOf({ lastSweepAt, oldestOverdueAt, clocksAhead, queue, sources: all }) {
  const timer = "check BRIDGE_POLL_SCHEDULE and that the function `sweep` is enabled, then restart the app";
  return [
    lastSweepAt === null && { where: "Sweeps", what: "none yet", advice: timer },
    lastSweepAt && older(lastSweepAt, LATEST_SWEEP) && { where: "Sweeps", what: "the last one was ", at: lastSweepAt, form: "ago", advice: timer },
    oldestOverdueAt && older(oldestOverdueAt, OVERDUE) && { where: "Work", what: "the oldest is overdue for ", at: oldestOverdueAt, form: "since",
      advice: "check the sources; under load, raise BRIDGE_SWEEP_THREADS or SPEECH_REQUESTS_PER_SECOND" },
    clocksAhead.length && { where: "Clocks", what: `times of ${clocksAhead.map((each) => each.row).join(", ")} lie ahead`,
      advice: "nothing, if it passes within a minute; else restart the app: the clock of an instance is, or was, wrong" },
    queue.problem && { where: "Queue", what: `${queue.problem}, for `, at: queue.since, form: "since", advice: queue.advice },
    ...all.filter((each) => each.problem).map((each) => {
      const { words, at, form } = condition(each);
      return { where: `Source ${each.name}`, what: words, at, form, detail: each.problem.detail, advice: each.advice };
    }),
  ].filter(Boolean);
}

const figure = (label, ...value) => el("div", { class: "figure" }, el("span", { class: "quiet" }, label), el("b", {}, ...value));

function drawHealth({ lastSweepAt, oldestOverdueAt }) {
  const isLate = lastSweepAt === null || older(lastSweepAt, LATEST_SWEEP);
  show(byId("health"), [lastSweepAt, oldestOverdueAt, isLate], () => [
    figure("last sweep", isLate ? el("span", { class: "wrong" }, lastSweepAt ? when(lastSweepAt) : "never") : el("span", { class: "ok", title: lastSweepAt }, "in the last minute ✓")),
    figure("overdue work", oldestOverdueAt ? el("span", { title: "by the due time of the most overdue row" }, "for ", when(oldestOverdueAt, "since")) : "none"),
  ]);
}

function sourceLine(source) {
  const { words, at, form, isGood } = condition(source);
  return el("li", {},
    el("strong", {}, source.name), el("span", { class: isGood ? "ok" : "wrong" }, words, at && when(at, form)),
    el("span", { class: "quiet url" }, `${host(source.endpoint)}/${source.path}`),
    el("span", { title: "requests per second, of the highest" }, `${source.requestsPerSecond} of ${source.highestRequestsPerSecond} requests/s`),
    source.shadowPrice > 1 && el("span", { class: "retrying", title: `More polls are due than the rate limit allows, so the most useful ones are made first. Price of a poll: ${source.shadowPrice}` },
      `over budget: polling ${source.shadowPrice}× less often`));
}

async function readStatus() {
  let status;
  try {
    status = await call("GET", "status");
  } catch (error) {
    if (error.status !== 403) throw error;
    drawCounts(null);
    show(byId("health"), "owner", () => el("p", { class: "quiet" }, "Counts and sources are visible to admins (Bridge.Admin). The list shows your own registrations."));
    return;
  }
  sources = status.sources;
  broken.faults = faultsOf(status);
  drawCounts(status.registrations);
  drawHealth(status);
  show(byId("sources"), sources, () => sources.map(sourceLine));
  drawBroken();
}

async function readEntries() {
  await readList();
  drawList();
  seenAt = new Date().toISOString();
}

/** The reads of the page, a call each. The slow ones are repeated rarely. */
const fastReads = () => [readStatus, readEntries, ...[...list.open.keys()].map((id) => () => readOpen(id))];
const SLOW_READS = [() => readBroken("pending"), () => readBroken("dead"), readOverview];

/** Reads one after the other: the bridge answers few of these at once. A busy bridge is read at the next turn. */
async function readSlowly() {
  for (const read of SLOW_READS) await read().catch(unlessBusy);
  slowAt = Date.now();
}

function unlessBusy(error) {
  if (error.code !== "TooBusy") throw error;
}

/** Runs reads, and shows that the data is current. Further calls meanwhile wait for the same reads. */
function reading(reads) {
  running ??= (async () => {
    await Promise.all(reads.map((read) => read()));
    drawList();
    show(byId("trouble"), "", () => []);
    document.body.dataset.shown = "";
    byId("sign-out").hidden = !sessionStorage.getItem(KEPT);
    drawSeen();
  })().finally(() => { running = null; readAt = Date.now(); });
  return running;
}

/** Reads all data, the slow part if it is old. */
async function refresh() {
  await reading(fastReads());
  if (Date.now() - slowAt >= SLOW_EVERY) await reading([readSlowly]);
  document.body.dataset.ready = "";
}

/** Reads all data anew, after a change. */
async function refreshAll() {
  if (running) await running.catch(() => {});
  slowAt = 0;
  await refresh();
}

function trouble(error) {
  if (error instanceof Locked) return signIn(sessionStorage.getItem(KEPT) ? error.message || "This key was refused (401)." : "");
  if (error instanceof Refused) document.body.dataset.shown = ""; // a wrong address: its filters can be removed
  const details = (error.details ?? []).filter(({ message }) => message !== error.message).map(({ target, message }) => ` ${target}: ${message}.`);
  show(byId("trouble"), [error.message, details], () => el("p", {},
    el("strong", {}, `${capital(error.message)}${error.message.endsWith(".") ? "" : "."}`), ...details,
    seenAt ? " The data may be out of date. The page keeps trying." : " The page keeps trying."));
}

/** Performs an action of a person, and shows its error. */
async function doing(what) {
  try {
    await what();
  } catch (error) {
    trouble(error);
  }
}

const idleFor = () => Date.now() - touchedAt;
const pause = () => Math.min(Math.max(idleFor() / 10, EVERY), LONGEST);

/** Reads if the pause is over: all data, or one part of it in turn if the page has been idle for long. */
function readIfDue() {
  if (running || document.hidden || document.querySelector("dialog[data-sign-in]") || Date.now() - readAt < pause()) return;
  const parts = [...fastReads(), ...SLOW_READS];
  (idleFor() < IDLE ? refresh() : reading([parts[turn++ % parts.length]])).catch(trouble);
}

/** Notes an interaction. A page that read rarely reads at once. */
function touched() {
  touchedAt = Date.now();
  readIfDue();
}

function drawSeen() {
  show(byId("seen"), [seenAt, idleFor() >= IDLE], () => [
    "updated ", when(seenAt), idleFor() >= IDLE && ", one call a minute while the page is not used"]);
}

for (const name of ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"]) addEventListener(name, touched, { passive: true });
document.addEventListener("visibilitychange", touched);
addEventListener("popstate", () => { readAddress(); showView(); });
byId("register").addEventListener("click", register);
byId("ping").addEventListener("click", ping);
byId("redeliver-many").addEventListener("click", () => redeliverMany({
  host: list.filter.host, outcome: list.filter.outcome, group: list.filter.group,
  ...(["dead", "pending"].includes(list.filter.state) && { states: [list.filter.state] }),
}));
byId("sign-out").addEventListener("click", signOut);
byId("filters").addEventListener("change", filterChanged);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const note = byId("find-note");
  note.textContent = "";
  find(new FormData(event.target).get("text")).catch((error) => { if (error instanceof Refused || error instanceof Locked) trouble(error); else note.textContent = error.message; });
});
byId("older").addEventListener("click", () => go({ cursors: [...list.cursors, list.next] }));
byId("newer").addEventListener("click", () => go({ cursors: list.cursors.slice(0, -1) }));
byId("schedule-choice").addEventListener("change", drawCharts);
setInterval(() => { tick(); readIfDue(); }, 1000);
readAddress();
drawControls();
readIfDue();
