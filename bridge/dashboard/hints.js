// Words for people: states, outcomes, and the advice of `bridge/diagnostics.py`, which the page contains.

const STATES = ["waiting", "pending", "delivered", "dead", "canceled", "skipped"];
const ENDED = ["delivered", "dead", "canceled", "skipped"];

/** The words of the page for states of the API. A pending registration is also "retrying". */
const WORDS = { waiting: "polling", pending: "sending", dead: "failed" };
const word = (state) => WORDS[state] ?? state;

/** Short words for the kinds of failure of an attempt. */
const FAILURES = {
  "refused-by-rules": "refused by the rules",
  dns: "name not found",
  connect: "connection refused",
  tls: "TLS failed",
  timeout: "no answer in time",
  closed: "closed early",
  "head-too-large": "headers too large",
  protocol: "not HTTP",
  headers: "headers not readable",
  "callback-url": "URL not readable",
  lost: "outcome unknown",
};

const outcomeWords = ({ status, error }) => (error ? FAILURES[error] ?? error : `HTTP ${status}`);

/** Splits an outcome of the API, "401" or "timeout", into the fields of an attempt. */
const attemptOf = (outcome) => (/^\d+$/.test(outcome) ? { status: Number(outcome), error: null } : { status: null, error: outcome });
const OUTCOME_CLASSES = { "4xx": "any HTTP 4xx", "5xx": "any HTTP 5xx" };
const outcomeLabel = (outcome) => OUTCOME_CLASSES[outcome] ?? outcomeWords(attemptOf(outcome));

const isSuccess = ({ status, error }) => !error && status >= 200 && status < 300;

/** The state that the page shows: "retrying" for a pending registration after a failed attempt. */
const shownState = ({ state, lastAttempt }) => (state === "pending" && lastAttempt && !isSuccess(lastAttempt) ? "retrying" : state);

const GIVEN_UP = { exhausted: "every attempt failed", gone: "the receiver wants no more" };
const DEFERRED = { concurrency: "its host is busy", circuitOpen: "its host did not answer" };

const HINTS = JSON.parse(byId("hints").textContent);

function ofAttempt({ status, error }) {
  if (error) return HINTS.failures[error] ?? null;
  return status === null ? null : HINTS.statuses[status] ?? HINTS.classes[Math.floor(status / 100)] ?? null;
}

const ofPoll = (error) => error && (HINTS.polls[error.kind] ?? HINTS.polls.unknown);

const ofEnd = (reason) => (reason ? HINTS.reasons[reason] ?? null : null);

const told = (hint) => hint && el("p", { class: "hint" }, el("strong", {}, `${capital(hint.what)}.`), ` ${capital(hint.do)}.`);
