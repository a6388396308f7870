// Problems and advice: the table of `bridge/diagnostics.py`, which the page contains.

const HINTS = JSON.parse(byId("hints").textContent);

function ofAttempt({ status, error }) {
  if (error) return HINTS.failures[error] ?? null;
  return status === null ? null : HINTS.statuses[status] ?? HINTS.classes[Math.floor(status / 100)] ?? null;
}

const ofPoll = (error) => error && (HINTS.polls[error.kind] ?? HINTS.polls.unknown);

const ofEnd = (reason) => (reason ? HINTS.reasons[reason] ?? null : null);

const told = (hint) => hint && el("p", { class: "hint" }, el("strong", {}, `${capital(hint.what)}.`), ` ${capital(hint.do)}.`);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
