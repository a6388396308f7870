// Reads the data again and again while the page is visible, and reports failures.

const EVERY = 5000, PICTURES_EVERY = 60000;
let sources = [], picturesAt = 0, running = null, seenAt = null;

const sourceOf = (name) => sources.find((each) => each.name === name);

const many = ({ count, more }) => (more ? `more than ${count.toLocaleString("en")}` : count.toLocaleString("en"));

function figure(label, value, attributes = {}) {
  return el("div", { class: "figure", ...attributes }, el("span", { class: "quiet" }, label), el("b", {}, value));
}

function drawCounts(counts) {
  show(byId("counts"), counts, () => [
    el("button", { type: "button", class: "figure", "data-state": "", "data-focus": "all", click: () => choose("") },
      el("span", { class: "quiet" }, "registrations"), el("b", {}, "all")),
    ...STATES.map((state) => el("button", {
      type: "button", class: `figure ${state}`, "data-state": state, "data-focus": state, click: () => choose(state),
    }, el("span", { class: "quiet" }, word(state)), el("b", {}, many(counts[state])))),
  ]);
}

function drawHealth(status) {
  show(byId("health"), [status.lastSweepAt, status.oldestOverdueAt, status.queue], () => [
    figure("last sweep", status.lastSweepAt ? when(status.lastSweepAt) : "never"),
    figure("oldest overdue", status.oldestOverdueAt ? el("span", {}, "since ", when(status.oldestOverdueAt)) : "none",
      { title: "Due time of the most overdue row" }),
    status.queue.problem && el("p", { class: "hint" }, el("strong", { class: "wrong" }, capital(status.queue.problem)),
      " since ", when(status.queue.since), `. ${capital(status.queue.advice ?? "")}.`),
  ]);
}

function condition(source) {
  if (source.pausedUntil && Date.parse(source.pausedUntil) > Date.now()) return el("span", { class: "wrong" }, "paused until ", when(source.pausedUntil));
  if (source.unreachableSince) return el("span", { class: "wrong" }, "no answer since ", when(source.unreachableSince));
  if (source.problem) return el("span", { class: "wrong" }, "refused; polls again");
  if (source.stoppedUntil && Date.parse(source.stoppedUntil) > Date.now()) return el("span", { class: "wrong" }, "stopped by 429 until ", when(source.stoppedUntil));
  return el("span", { class: "ok" }, "polling");
}

function drawSources() {
  show(byId("sources"), sources, () => sources.map((source) => el("li", {},
    el("strong", {}, source.name), condition(source),
    el("span", { class: "quiet url" }, `${host(source.endpoint)}/${source.path}`),
    el("span", { title: "requests per second, of the highest" }, `${source.requestsPerSecond} of ${source.highestRequestsPerSecond} requests/s`),
    source.shadowPrice > 1 && el("span", { title: "more polls are due than the budget allows: only polls worth at least this many base prices are made" }, `price ${source.shadowPrice}`),
    source.problem && el("p", { class: "hint" }, el("strong", {}, source.problem.detail), ` ${capital(source.advice ?? "")}.`))));
}

async function readStatus() {
  try {
    const status = await call("GET", "status");
    sources = status.sources;
    drawCounts(status.registrations);
    drawHealth(status);
    drawSources();
  } catch (error) {
    if (error.status !== 403) throw error;
    show(byId("counts"), "owner", () => STATES.map((state) => el("button", {
      type: "button", class: `figure ${state}`, "data-state": state, "data-focus": state, click: () => choose(state),
    }, el("b", {}, word(state)))));
    show(byId("health"), "owner", () => el("p", { class: "quiet" }, "Counts and sources are visible to admins (Bridge.Admin). Below are your own registrations."));
  }
}

async function readPictures() {
  if (Date.now() - picturesAt < PICTURES_EVERY) return;
  pictures(await call("GET", "overview"));
  picturesAt = Date.now();
}

/** Reads all data once. Further calls meanwhile wait for the same reads. */
function refresh() {
  running ??= (async () => {
    await Promise.all([readStatus(), readList(), readPictures()]);
    drawList();
    seenAt = new Date().toISOString();
    document.body.dataset.ready = "";
    show(byId("seen"), seenAt, () => [el("span", {}, "seen "), when(seenAt)]);
    show(byId("trouble"), "", () => []);
    byId("sign-out").hidden = !sessionStorage.getItem(KEPT);
  })().finally(() => { running = null; });
  return running;
}

function trouble(error) {
  if (error instanceof Locked) return signIn(sessionStorage.getItem(KEPT) ? error.message || "It was not accepted." : "");
  show(byId("trouble"), [error.message, error.details], () => el("p", {},
    el("strong", {}, `${capital(error.message)}${error.message.endsWith(".") ? "" : "."}`),
    ...(error.details ?? []).map((each) => el("span", {}, ` ${each}`)),
    seenAt ? " The data may be out of date. The page keeps trying." : " The page keeps trying."));
}

/** Performs an action of a person, and shows its error. */
async function doing(what) {
  try {
    if (running) await running.catch(() => {});
    await what();
  } catch (error) {
    trouble(error);
  }
}

async function loop() {
  if (!document.hidden && !document.querySelector("dialog[data-sign-in]")) await refresh().catch(trouble);
  setTimeout(loop, EVERY);
}

byId("register").addEventListener("click", register);
byId("ping").addEventListener("click", ping);
byId("redeliver-many").addEventListener("click", redeliverMany);
byId("sign-out").addEventListener("click", signOut);
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  choose("", new FormData(event.target).get("operationId").trim());
});
byId("older").addEventListener("click", () => { list.pages.push(list.next); doing(refresh); });
byId("newer").addEventListener("click", () => { list.pages.pop(); doing(refresh); });
byId("durations-choice").addEventListener("change", () => { picturesAt = 0; doing(refresh); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh().catch(trouble); });
setInterval(tick, 1000);
loop();
