// An open row: the life of a registration, its message, and the actions on it.

const entryAt = (time, title, ...more) => el("li", {}, el("span", { class: "at" }, time), el("div", {}, el("strong", {}, title), ...more));
const moment = (at, title, ...more) => entryAt(at && when(at), title, ...more);

function polled(operation) {
  const hint = told(ofPoll(operation.lastError)) ?? (operation.reason ? told(ofEnd(operation.reason)) : null);
  const times = ["Not polled yet", "Polled once", "Polled twice"][operation.polls] ?? `Polled ${operation.polls.toLocaleString("en")} times`;
  const next = operation.nextPollAt ? [", next poll ", when(operation.nextPollAt, "due")] : [];
  return moment(operation.lastPolledAt, times, ...next, operation.lastError && el("pre", {}, operation.lastError.detail), hint);
}

const LINES = 5;

/** A receiver's answer, JSON indented, folded after five lines. */
function answerBody(key, body) {
  const text = indented(body), lines = text.split("\n");
  if (lines.length <= LINES) return el("pre", {}, text);
  return [el("pre", {}, [...lines.slice(0, LINES), "…"].join("\n")), fold(key, `all ${lines.length} lines`, el("pre", {}, text))];
}

/** Groups attempts in a row that had the same outcome. */
function grouped(attempts) {
  const outcome = ({ status, error, detail, location, body }) => JSON.stringify([status, error, detail, location, body]);
  return attempts.reduce((groups, each) => {
    const last = groups.at(-1);
    if (last && outcome(last[0]) === outcome(each)) last.push(each);
    else groups.push([each]);
    return groups;
  }, []);
}

const took = ({ durationMs }) => (durationMs === null ? "" : ` after ${duration(durationMs / 1000)}`);

function attempted(id, [first, ...same]) {
  const isOver = first.error !== null || first.status !== null;
  const key = `${id} ${first.number}`;
  const shown = moment(first.at, `Attempt ${first.number}: `,
    el("span", { class: isOver && isSuccess(first) ? "ok" : isOver ? "wrong" : "" }, isOver ? outcomeWords(first) : "under way"), took(first),
    first.address && el("span", { class: "quiet" }, ` at ${first.address}`),
    first.detail && el("span", {}, `: ${first.detail}`),
    first.location && el("span", {}, " to ", el("code", {}, first.location)),
    first.body && answerBody(`body ${key}`, first.body), told(ofAttempt(first)));
  if (!same.length) return [shown];
  const last = same.at(-1);
  if (same.length === 1) return [shown, moment(last.at, `Attempt ${last.number}: the same`)];
  return [shown, moment(last.at, `Attempts ${same[0].number}–${last.number}: the same`, fold(`same ${key}`, "times", el("ul", {}, ...same.map((each) =>
    el("li", {}, `Attempt ${each.number} `, when(each.at), took(each), each.address && el("span", { class: "quiet" }, ` at ${each.address}`))))))];
}

/** The history of a registration, in order of time. */
function life(id, { shown, message }) {
  if (shown === null) return [el("p", { class: "quiet" }, "Reading …")];
  if (shown instanceof Error) return [el("p", { class: "wrong" }, shown.message)];
  const operation = operationOrJob(shown);
  const ended = operation.finishedAt && moment(operation.finishedAt, `The operation is ${operation.status}`, operation.reason && ` (${operation.reason})`);
  const source = sourceOf(operation.source);
  const paused = !ended && !operation.lastError && source?.problem && el("p", { class: "hint" },
    el("strong", {}, `Source ${source.name} ${source.unreachableSince ? "does not answer" : "is paused"}: ${source.problem.detail}`), ` ${capital(source.advice ?? "")}`);
  return [
    el("ol", { class: "life" },
      moment(shown.createdAt, "Registered", el("span", { class: "quiet url" }, ` for ${shown.callbackUrl}`)),
      polled(operation), ended,
      shown.earlierAttempts && moment(shown.earlierAttempts.before, `${plural(shown.earlierAttempts.count, "earlier attempt")} before this`),
      ...grouped(shown.attempts).flatMap((each) => attempted(id, each)),
      shown.state === "pending" && entryAt(when(shown.nextAttemptAt, "due"), "Next attempt", shown.deferredBy && ` waits: ${DEFERRED[shown.deferredBy]}`),
      shown.state === "delivered" && moment(shown.deliveredAt, "Delivered"),
      ["dead", "canceled", "skipped"].includes(shown.state) && moment(shown.since, capital(word(shown.state)), shown.reason && ` (${GIVEN_UP[shown.reason] ?? shown.reason})`)),
    paused,
    shown.message && fold(`message ${id}`, "Message: headers and payload", messageParts(id, message), () => doing(() => readMessage(id))),
    el("p", { class: "actions" }, ...actions(shown),
      copyButton("Copy link", new URL(addressOf({}, "", [id]), location.href).href, `link ${id}`),
      copyButton("Copy as curl", curl("GET", `registrations/${id}`), `curl ${id}`)),
    el("p", { class: "quiet facts" },
      el("span", {}, id),
      shown.message && el("span", {}, `${shown.message.type} ${shown.message.id}`),
      shown.metadata && el("span", {}, `metadata ${shown.metadata.text}`),
      shown.group && el("span", {}, `group ${shown.group}`)),
  ];
}

async function readMessage(id) {
  const message = await call("GET", `registrations/${id}/message`).catch((error) => {
    if (error instanceof Locked) throw error;
    return error;
  });
  if (isOpen(id)) list.open.get(id).message = message;
  drawList();
}

const SHOWN_SIGNATURE = 24;
const shortened = (name, value) => (name.toLowerCase().endsWith("signature") && value.length > SHOWN_SIGNATURE ? `${value.slice(0, SHOWN_SIGNATURE)}…` : value);

/** The headers and the body of a message. Signatures are cut short on the page, and copied whole. */
function messageParts(id, message) {
  if (message === null) return el("p", { class: "quiet" }, "Reading …");
  if (message instanceof Error) return el("p", { class: "wrong" }, message.message);
  const headers = Object.entries(message.headers);
  const lines = (write) => headers.map(([name, value]) => `${name}: ${write(name, value)}`).join("\n");
  return [
    el("pre", { class: "headers" }, lines(shortened)), el("pre", { class: "payload" }, indented(message.body)),
    el("p", { class: "actions" }, copyButton("Copy payload", message.body, `payload ${id}`),
      copyButton("Copy headers", lines((_, value) => value), `headers ${id}`),
      el("span", { class: "quiet" }, "The payload is copied exactly as it is sent. Signature and timestamp are made when this is read.")),
  ];
}

const DELIVERED_TWICE = "The receiver accepted this message. It gets the same message once more, with the same webhook-id.";

/** The buttons of a row: those that its state allows. */
function actions(shown) {
  const { id, state, message, callbackUrl } = shown;
  const path = `registrations/${id}`, what = `${operationOrJob(shown).id} to ${host(callbackUrl)}`;
  const button = (name, label, act) => el("button", {
    type: "button", "data-focus": `${name} ${id}`, click: () => doing(async () => { if (await act()) await refreshAll(); }),
  }, label);
  const send = async (method, to) => { await call(method, to); return true; };
  const again = () => send("POST", `${path}/redeliver`);
  return [
    state === "pending" && button("try", "Try now", again),
    ["dead", "canceled"].includes(state) && message && button("redeliver", "Deliver again", again),
    state === "delivered" && button("redeliver", "Deliver again …", async () =>
      (await confirmed("Deliver again?", DELIVERED_TWICE, "Deliver again")) && again()),
    !ENDED.includes(state) && button("cancel", "Cancel …", async () =>
      (await confirmed("Cancel the callback?", state === "waiting"
        ? `The callback of ${what} is not sent. To get it after all, register again.`
        : `No further attempt of ${what} starts. It can be delivered again later.`, "Cancel the callback")) && send("DELETE", path)),
    ENDED.includes(state) && button("erase", "Erase …", async () =>
      (await confirmed("Erase the registration?", `The registration of ${what}, its attempts and its message are removed now. This cannot be undone.`, "Erase"))
      && (await send("DELETE", `${path}?purge=true`)) && closed(id)),
  ];
}

/** Closes a row that was erased. */
function closed(id) {
  if (isOpen(id)) toggleRow(id);
  return true;
}
