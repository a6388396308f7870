// Problems and advice: the table of `bridge/diagnostics.py`, which the page contains.

const HINTS = JSON.parse(byId("hints").textContent);

function ofAttempt({ status, error, detail, location }) {
  if (error) return (error === "tls" && HINTS.tls[detail]) || (HINTS.failures[error] ?? null);
  if (status === null) return null;
  const hint = HINTS.statuses[status] ?? HINTS.classes[Math.floor(status / 100)] ?? null;
  return hint && location ? { ...hint, what: `${hint.what} (${location})` } : hint;
}

const ofPoll = (lastError) =>
  lastError ? HINTS.polls.find(({ pattern }) => new RegExp(`^(?:${pattern})`).test(lastError))?.hint ?? HINTS.unreachable : null;

const ofEnd = (reason) => (reason ? HINTS.reasons[reason] ?? null : null);

const told = (hint) => hint && el("p", { class: "hint" }, el("strong", {}, `${capital(hint.what)}.`), ` ${capital(hint.do)}.`);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
