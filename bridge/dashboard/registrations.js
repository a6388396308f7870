// The table of registrations: a page of the list, and the open rows.

/** The destination of a registration: host and port. The whole URL can be long, and its query can contain a secret. */
function host(url) {
  try {
    return new URL(url).host;
  } catch {
    return url;
  }
}

const badge = (entry) => el("span", { class: `state ${shownState(entry)}`, title: entry.state }, word(shownState(entry)));

/** An outcome and its place in the schedule: "HTTP 401, 3 of 10". */
const attemptWords = (attempt) => `${outcomeWords(attempt)}${attempt.of ? `, ${attempt.number} of ${attempt.of}` : ""}`;

/** The note of a row: the last attempt, and the next one. */
function note(entry) {
  const { state, lastAttempt, nextAttemptAt, deferredBy, reason } = entry;
  const deferred = deferredBy ? `, ${DEFERRED[deferredBy]}` : "";
  if (state === "waiting") return "until the operation ends";
  if (state === "skipped") return "event not requested";
  if (state === "pending" && !lastAttempt) return ["first attempt ", when(nextAttemptAt, "due"), deferred];
  if (state === "pending") return [`${attemptWords(lastAttempt)}, next `, when(nextAttemptAt, "due"), deferred];
  if (!lastAttempt) return GIVEN_UP[reason] ?? reason ?? "";
  if (state === "dead") return `${attemptWords(lastAttempt)}: ${GIVEN_UP[reason] ?? reason}`;
  return lastAttempt.number > 1 ? attemptWords(lastAttempt) : outcomeWords(lastAttempt);
}

function row(entry) {
  const open = isOpen(entry.id), { id, source, status } = operationOrJob(entry);
  const toggle = el("button", {
    type: "button", class: "plain id", "aria-expanded": String(open), "data-focus": entry.id, click: () => toggleRow(entry.id),
  }, id);
  return el("tr", { class: open ? "entry open" : "entry", click: ({ target }) => clickedRow(entry.id, target) },
    el("td", { class: "is" }, badge(entry)),
    el("th", { scope: "row", class: "what" }, toggle, source === "default" ? null : el("span", { class: "quiet" }, ` ${source}`)),
    el("td", { class: "wide" }, status ?? el("span", { class: "quiet" }, "running")),
    el("td", { class: "to", title: entry.callbackUrl }, host(entry.callbackUrl)),
    el("td", { class: "updated" }, when(entry.since)),
    el("td", { class: `note ${shownState(entry)}` }, ...[note(entry)].flat()));
}

/** Toggles the row, unless the click was for a button in it or ended a selection of text. */
function clickedRow(id, target) {
  if (!target.closest("button, a, summary") && getSelection().isCollapsed) toggleRow(id);
}

function rows(entry) {
  if (!isOpen(entry.id)) return [row(entry)];
  const cell = el("td", { colspan: 6 });
  cell.append(...life(entry.id, list.open.get(entry.id)).filter(Boolean));
  return [row(entry), el("tr", { class: "detail" }, cell)];
}

function toggleRow(id) {
  const ids = isOpen(id) ? [...list.open.keys()].filter((each) => each !== id) : [...list.open.keys(), id];
  setOpen(ids);
  history.pushState({ cursors: list.cursors }, "", addressOf(list.filter, list.cursors.at(-1), ids));
  drawList();
  if (isOpen(id)) doing(async () => { await readOpen(id); drawList(); });
}

/** Reads an open row. An error is shown in its place. */
async function readOpen(id) {
  const shown = await call("GET", `registrations/${id}`).catch((error) => {
    if (error instanceof Locked) throw error;
    return error;
  });
  if (isOpen(id)) list.open.get(id).shown = shown;
}

async function readList() {
  const read = ++list.reads, wanted = new URLSearchParams({ ...list.filter, limit: 50 });
  const cursor = list.cursors.at(-1);
  if (cursor) wanted.set("cursor", cursor);
  const answer = await call("GET", `registrations?${wanted}`);
  if (read !== list.reads) return;
  list.entries = answer.value;
  list.next = answer.nextLink && new URL(answer.nextLink).searchParams.get("cursor");
  byId("table").removeAttribute("aria-busy");
}

/** The entries of the page, after those of open rows that the page does not have: a link can lead to any of them. */
function entriesOfView() {
  const entries = list.entries ?? [];
  const known = new Set(entries.map((each) => each.id));
  const others = [...list.open].filter(([id, { shown }]) => !known.has(id) && shown?.id);
  return [...others.map(([, { shown }]) => ({ ...shown, lastAttempt: lastOf(shown.attempts) })), ...entries];
}

/** The last attempt with an outcome. Its place in the schedule is only known to lists. */
const lastOf = (attempts) => attempts.findLast(({ status, error }) => status !== null || error !== null) ?? null;

function drawList() {
  const entries = entriesOfView();
  const open = [...list.open].map(([id, { shown, message }]) => [id, readable(shown), readable(message)]);
  show(byId("rows"), [entries, open, sources], () => entries.flatMap(rows));
  byId("table").hidden = entries.length === 0;
  const missing = [...list.open].filter(([, { shown }]) => shown instanceof Error).map(([id, { shown }]) => [id, shown.message]);
  show(byId("nothing"), [entries.length === 0, list.filter, list.next, missing], () => [
    ...missing.filter(([id]) => !entries.some((each) => each.id === id)).map(([id, why]) => el("p", { class: "wrong" }, `${id}: ${why}`)),
    ...(entries.length ? [] : nothing()),
  ]);
  byId("newer").disabled = list.cursors.length === 1;
  byId("older").disabled = list.next === null;
  byId("paging").hidden = list.cursors.length === 1 && list.next === null;
}

/** Errors are written as their message: JSON would lose it. */
const readable = (value) => (value instanceof Error ? value.message : value);

function nothing() {
  const active = Object.entries(list.filter);
  if (list.next !== null) return [el("p", {}, "Nothing on this page. The bridge reads a part of its list at a time: “Older” continues.")];
  if (active.length === 1 && list.filter.state) return [el("p", {}, `No registration is ${filterWords("state", list.filter.state)}.`)];
  if (active.length === 1 && list.filter.operationId) return [el("p", {}, `No registration of an operation “${list.filter.operationId}”.`)];
  if (active.length) return [el("p", {}, `No registration matches: ${active.map(([name, value]) => filterWords(name, value)).join(", ")}.`)];
  const example = curl("POST", "registrations", { operationId: "my-operation", callbackUrl: receiver() });
  return [
    el("h3", {}, "Nothing is registered yet"),
    el("p", {}, "Register the id of an operation that Speech is running, and the URL to call when the operation ends."),
    isLocal() && el("p", {}, "On a local start, submit a job to the fake Speech service first, as the README shows, and register its operation. ",
      "The local receiver is ", el("code", {}, receiver()), "."),
    el("p", { class: "actions" }, el("button", { type: "button", class: "main", click: register }, "Register a callback"),
      copyButton("Copy as curl", example)),
    el("pre", {}, example),
  ];
}

const isLocal = () => ["127.0.0.1", "localhost"].includes(location.hostname);

/** A callback URL for a first try. A local start has its receiver on the next port. */
const receiver = () => (isLocal() ? `http://127.0.0.1:${Number(location.port) + 1}/callback` : "https://hooks.example.com/callback");
