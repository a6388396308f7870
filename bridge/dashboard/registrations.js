// The table of registrations: a page of the list, and the history of each open row.

const STATES = ["waiting", "pending", "delivered", "dead", "canceled", "skipped"];
const WORDS = { pending: "being delivered" };
const word = (state) => WORDS[state] ?? state;

const list = { state: "", operationId: "", pages: [""], next: null, entries: null, open: new Map() };

/** The destination of a registration: host and port. The whole URL can be long, and its query can contain a secret. */
function host(url) {
  try {
    return new URL(url).host;
  } catch {
    return url;
  }
}

const badge = (state) => el("span", { class: `state ${state}` }, word(state));

const GIVEN_UP = { exhausted: "every attempt failed", gone: "the receiver answered 410 Gone" };
const DEFERRED = { concurrency: "its host is busy", circuitOpen: "its host did not answer" };

function prospect(entry) {
  if (entry.state === "waiting") return "for its operation";
  if (entry.state === "pending") {
    return el("span", {}, "next attempt ", when(entry.nextAttemptAt), entry.deferredBy ? `, ${DEFERRED[entry.deferredBy]}` : "");
  }
  if (entry.state === "dead") return GIVEN_UP[entry.reason] ?? entry.reason ?? "";
  if (entry.state === "skipped") return "event not requested";
  return "";
}

function row(entry) {
  const open = list.open.has(entry.id);
  const toggle = el("button", {
    type: "button", class: "plain id", "aria-expanded": open, "data-focus": entry.id, click: () => toggleRow(entry.id),
  }, entry.operation.id);
  return el("tr", { class: open ? "open" : "" },
    el("td", { class: "is" }, badge(entry.state)),
    el("th", { scope: "row", class: "what" }, toggle, entry.operation.source === "default" ? null : el("span", { class: "quiet" }, ` ${entry.operation.source}`)),
    el("td", { class: "wide" }, entry.operation.status ?? el("span", { class: "quiet" }, "running")),
    el("td", { class: "to", title: entry.callbackUrl }, host(entry.callbackUrl)),
    el("td", { class: "since" }, when(entry.since)),
    el("td", { class: "wide" }, prospect(entry)));
}

const rows = (entry) => {
  const parts = [row(entry)];
  if (list.open.has(entry.id)) {
    const cell = el("td", { colspan: 6 });
    const detail = el("tr", { class: "detail" }, cell);
    cell.append(...life(list.open.get(entry.id)).filter(Boolean));
    parts.push(detail);
  }
  return parts;
};

const moment = (at, title, ...more) => el("li", {}, el("span", { class: "at" }, when(at)), el("div", {}, el("strong", {}, title), ...more));

function asked(operation) {
  const hint = told(ofPoll(operation.lastError)) ?? (operation.reason ? told(ofEnd(operation.reason)) : null);
  const times = operation.polls === 0 ? "Not polled yet" : operation.polls === 1 ? "Polled once" : `Polled ${plural(operation.polls, "time")}`;
  const next = operation.nextPollAt ? el("span", {}, "; next poll ", when(operation.nextPollAt)) : null;
  return moment(operation.lastPolledAt, times, next,
    operation.lastError && el("pre", {}, operation.lastError.detail), hint);
}

function attempted(attempt) {
  const answer = attempt.error ?? (attempt.status === null ? "under way" : `HTTP ${attempt.status}`);
  const good = attempt.status >= 200 && attempt.status < 300;
  const took = attempt.durationMs === null ? "" : ` after ${duration(attempt.durationMs / 1000)}`;
  return moment(attempt.at, `Attempt ${attempt.number}: `, el("span", { class: good ? "ok" : "wrong" }, answer), took,
    attempt.address && el("span", { class: "quiet" }, ` at ${attempt.address}`),
    attempt.detail && el("span", { class: "quiet" }, `: ${attempt.detail}`),
    attempt.location && el("span", { class: "quiet" }, ` to ${attempt.location}`),
    attempt.body && el("pre", {}, attempt.body), told(ofAttempt(attempt)));
}

/** The history of a registration, in order of time. */
function life(shown) {
  if (shown === null) return [el("p", { class: "quiet" }, "Reading …")];
  if (shown instanceof Error) return [el("p", { class: "wrong" }, shown.message)];
  const { operation } = shown;
  const ended = operation.finishedAt && moment(operation.finishedAt, `The operation is ${operation.status}`,
    operation.reason && el("span", {}, ` (${operation.reason})`));
  const source = sourceOf(operation.source);
  const paused = !ended && !operation.lastError && source?.problem && el("p", { class: "hint" },
    el("strong", {}, `Source ${source.name} ${source.unreachableSince ? "does not answer" : "is paused"}: ${source.problem.detail}`), ` ${capital(source.advice ?? "")}`);
  return [
    el("ol", { class: "life" },
      moment(shown.createdAt, "Registered", el("span", { class: "quiet url" }, ` for ${shown.callbackUrl}`)),
      asked(operation), ended,
      shown.earlierAttempts && moment(shown.earlierAttempts.before, `${shown.earlierAttempts.count} earlier attempts before this`),
      ...shown.attempts.map(attempted),
      shown.state === "pending" && moment(shown.nextAttemptAt, "Next attempt", shown.deferredBy && ` waits: ${DEFERRED[shown.deferredBy]}`),
      shown.state === "delivered" && moment(shown.deliveredAt, "Delivered"),
      ["dead", "canceled", "skipped"].includes(shown.state) && moment(shown.since, capital(word(shown.state)), shown.reason && ` (${GIVEN_UP[shown.reason] ?? shown.reason})`)),
    paused,
    el("p", { class: "actions" },
      action(shown, "redeliver", "Deliver again", ["delivered", "dead", "canceled"].includes(shown.state) && shown.message !== null),
      action(shown, "cancel", "Cancel", ["waiting", "pending"].includes(shown.state)),
      el("button", { type: "button", "data-focus": `curl ${shown.id}`, click: ({ target }) => copy(curl("GET", `registrations/${shown.id}`), target) }, "Copy as curl"),
      shown.message && el("span", { class: "quiet" }, `${shown.message.type} ${shown.message.id}`),
      shown.metadata && el("span", { class: "quiet" }, `metadata ${shown.metadata.text}`),
      shown.group && el("span", { class: "quiet" }, `group ${shown.group}`)),
  ];
}

const ACTIONS = {
  redeliver: ["POST", (id) => `registrations/${id}/redeliver`],
  cancel: ["DELETE", (id) => `registrations/${id}`],
};

function action(shown, name, label, possible) {
  if (!possible) return null;
  const [method, path] = ACTIONS[name];
  return el("button", {
    type: "button", "data-focus": `${name} ${shown.id}`,
    click: () => doing(async () => {
      await call(method, path(shown.id));
      await refresh();
    }),
  }, label);
}

async function toggleRow(id) {
  if (list.open.delete(id)) return drawList();
  list.open.set(id, null);
  drawList();
  await readOpen([id]);
  drawList();
}

async function readOpen(ids) {
  await Promise.all(ids.map(async (id) => {
    const shown = await call("GET", `registrations/${id}`).catch((error) => {
      if (error instanceof Locked) throw error;
      return error;
    });
    if (list.open.has(id)) list.open.set(id, shown);
  }));
}

async function readList() {
  const wanted = new URLSearchParams({ limit: 50, ...(list.state && { state: list.state }) });
  if (list.operationId) wanted.set("operationId", list.operationId);
  const page = list.pages.at(-1) || `?${wanted}`;
  const answer = await call("GET", `registrations${page}`);
  list.entries = answer.value;
  list.next = answer.nextLink ? new URL(answer.nextLink).search : null;
  const known = new Set(answer.value.map((each) => each.id));
  for (const id of list.open.keys()) if (!known.has(id)) list.open.delete(id);
  await readOpen([...list.open.keys()]);
}

function drawList() {
  const entries = list.entries ?? [];
  const open = [...list.open].map(([id, shown]) => [id, shown instanceof Error ? shown.message : shown]);
  show(byId("rows"), [entries, open, sources], () => entries.flatMap(rows));
  byId("table").hidden = entries.length === 0;
  show(byId("nothing"), [entries.length === 0, list.state, list.operationId], () => (entries.length ? [] : nothing()));
  byId("newer").disabled = list.pages.length === 1;
  byId("older").disabled = list.next === null;
  byId("paging").hidden = list.pages.length === 1 && list.next === null;
  for (const button of document.querySelectorAll("[data-state]")) {
    button.setAttribute("aria-pressed", String(button.dataset.state === list.state));
  }
}

function nothing() {
  if (list.operationId) return el("p", {}, `No registration of an operation “${list.operationId}”.`);
  if (list.state) return el("p", {}, `No registration is ${word(list.state)}.`);
  const local = ["127.0.0.1", "localhost"].includes(location.hostname);
  const example = curl("POST", "registrations", { operationId: "my-operation", callbackUrl: receiver() });
  return [
    el("h3", {}, "Nothing is registered yet"),
    el("p", {}, "Register the id of an operation that Speech is running, and the URL to call when the operation ends."),
    local && el("p", {}, "On a local start any operation id will do: the fake Speech service lets it succeed after 12 s, or fail if “fail” is in its name. ",
      "Its receiver is ", el("code", {}, receiver()), "."),
    el("p", { class: "actions" }, el("button", { type: "button", class: "main", click: register }, "Register a callback"),
      el("button", { type: "button", click: ({ target }) => copy(example, target) }, "Copy as curl")),
    el("pre", {}, example),
  ];
}

/** A callback URL for a first try. A local start has its receiver on the next port. */
function receiver() {
  const local = ["127.0.0.1", "localhost"].includes(location.hostname);
  return local ? `http://127.0.0.1:${Number(location.port) + 1}/callback` : "https://hooks.example.com/callback";
}

function choose(state, operationId = "") {
  Object.assign(list, { state, operationId, pages: [""] });
  list.open.clear();
  doing(refresh);
}
