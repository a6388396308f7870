"""Text for people about registrations, operations and the status, with problems and advice.

Converts JSON of the API to lines. Only `troubles` reads from the API. The hints are those of `bridge/diagnostics.py`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby, islice
from urllib.parse import urlsplit

from bridge import diagnostics
from bridge.cli.client import Api, Json, other_version
from bridge.cli.errors import Refused
from bridge.cli.output import OutputLine, Times, Tone
from bridge.diagnostics import Hint
from bridge.domain.registration import State

#: The states with problems that can still be corrected.
_TROUBLED = ("waiting", "pending", "dead")

#: How many registrations of each state are checked, newest first.
LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem."""

    #: The receiver's host and port, or the source.
    where: str
    #: The kind of the observation: a status, a kind of failure, or why the bridge gave up.
    kind: str
    hint: Hint
    #: The kind with its detail, which can differ between registrations that have the same problem.
    seen: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One problem with all registrations that have it."""

    finding: Finding
    registrations: Sequence[str]

    def shown(self) -> Json:
        """Convert to JSON."""
        found = self.finding
        return {
            "where": found.where,
            "kind": found.kind,
            "seen": found.seen,
            "what": found.hint.what,
            "do": found.hint.do,
            "registrations": list(self.registrations),
        }


def operation_or_job(shown: Json) -> Json:
    """Return the part of an answer that is about its operation, or about its job."""
    part: Json = shown.get("operation") or shown["job"]
    return part


def diagnose(shown: Json) -> list[Finding]:
    """List the problems of a registration, from its JSON, causes before effects."""
    operation = operation_or_job(shown)
    found = [_of_operation(operation), None if shown["state"] == "delivered" else _of_attempts(shown)]
    return [each for each in found if each is not None]


def of_operation(operation: Json) -> list[Finding]:
    """List the problems of an operation alone."""
    found = _of_operation(operation)
    return [] if found is None else [found]


def troubles(api: Api) -> list[Trouble]:
    """List the problems of the newest registrations that are waiting, pending or dead, grouped by problem.

    Costs one read per registration. Raises BridgeUnreachable and Refused.
    """
    grouped: dict[Finding, list[str]] = {}
    for shown in _looked_at(api):
        for finding in diagnose(shown):
            grouped.setdefault(finding, []).append(shown["id"])
    return [Trouble(finding, ids) for finding, ids in grouped.items()]


def is_in_flight(shown: Json) -> bool:
    """Return whether the last attempt has no outcome yet."""
    made = shown["attempts"]
    return bool(made) and made[-1]["error"] is None and made[-1]["status"] is None


def ended_attempts(shown: Json) -> list[Json]:
    """Return the attempts with a known outcome."""
    return [each for each in shown.get("attempts", []) if each["error"] is not None or each["status"] is not None]


def _looked_at(api: Api) -> Iterator[Json]:
    for state in _TROUBLED:
        entries = api.get("registrations", state=state, limit=LOOKED_AT)["value"]
        for entry in islice(entries, LOOKED_AT):
            try:
                yield api.get(f"registrations/{entry['id']}")
            except Refused as error:
                if error.status != HTTPStatus.NOT_FOUND:  # it was purged meanwhile
                    raise


def _of_operation(operation: Json) -> Finding | None:
    where, error = f"source {operation['source']}", operation["lastError"]
    given_up = diagnostics.of_end(operation["reason"])
    seen = f"{operation['status']}, {operation['reason']}" if error is None else poll_error(error)
    if given_up is not None:
        return Finding(where, operation["reason"], given_up, seen)
    return None if error is None else Finding(where, error["kind"], diagnostics.of_poll(error["kind"]), seen)


def _of_attempts(shown: Json) -> Finding | None:
    ended = ended_attempts(shown)
    if not ended:
        return None
    last = ended[-1]
    hint = diagnostics.of_attempt(last["status"], last["error"])
    where = f"receiver {_host_of(shown['callbackUrl'])}"
    return None if hint is None else Finding(where, _kind(last), hint, _outcome(last))


def _kind(ended: Json) -> str:
    """Return the outcome of an attempt without its detail."""
    return str(ended["error"] or f"HTTP {ended['status']}")


def poll_error(error: Json) -> str:
    """Write the error of a poll in one line."""
    return f"{error['kind']}: {error['detail']}"


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        raise other_version(f"{url[:80]!r} is not a URL") from None


_TONES = {"delivered": Tone.GOOD, "dead": Tone.BAD, "canceled": Tone.WARN, "skipped": Tone.WARN}
_ENDED = frozenset(_TONES)
_SHOWN_IDS = 3
#: The most lines of a receiver's answer. `--json` has all of the answer that the bridge keeps.
_SHOWN_LINES = 20


def has_ended(shown: Json) -> bool:
    """Return whether a registration stays as it is until a client acts."""
    return shown["state"] in _ENDED


def went_well(shown: Json) -> bool:
    """Return whether an ended registration is a success: `Succeeded`, and delivered if that event was requested."""
    return shown["state"] in ("delivered", "skipped") and operation_or_job(shown)["status"] == "Succeeded"


def tone_of(shown: Json) -> Tone:
    """Return the colour of a registration."""
    return _TONES.get(shown["state"], Tone.PLAIN)


def in_short(shown: Json, times: Times) -> str:
    """Summarise a registration in a few words."""
    operation, ended = operation_or_job(shown), ended_attempts(shown)
    last = f"attempt {ended[-1]['number']}: {_outcome(ended[-1])}" if ended else ""
    match shown["state"]:
        case "waiting":
            seen = operation["status"] or "not known yet"
            error = operation["lastError"]
            return f"the operation is {seen}" + (f" ({poll_error(error)})" if error else "")
        case "pending":
            again = f"next {times.due(shown['nextAttemptAt'])}" if shown["nextAttemptAt"] else "next one soon"
            deferred = f", deferred by {shown['deferredBy']}" if shown["deferredBy"] else ""
            return f"{operation['status']}; {last or 'no attempt yet'}; {again}{deferred}"
        case "delivered":
            return f"{operation['status']}; {last or 'an attempt'} {times.at(shown['deliveredAt'])}"
        case "dead":
            return f"{operation['status']}; {shown['reason']}; {last}"
        case _:
            return f"{operation['status'] or 'never polled'}"


def registration(shown: Json, times: Times) -> list[OutputLine]:
    """Show a registration with operation, attempts, and problems."""
    lines = [
        OutputLine("state", _state(shown, times), tone_of(shown)),
        OutputLine("callback", f"{shown['callbackUrl']} ({shown['format']}; {', '.join(shown['events'])})"),
        OutputLine("operation", _operation(operation_or_job(shown), times)),
    ]
    if shown.get("metadata") is not None:
        lines.append(OutputLine("metadata", json.dumps(shown["metadata"])))
    if shown["message"]:
        lines.append(OutputLine("message", f"{shown['message']['id']} {shown['message']['type']}"))
    lines += _attempts(shown.get("attempts", []), times)
    earlier = shown.get("earlierAttempts")
    if earlier:
        lines.append(OutputLine("", f"{earlier['count']} earlier ones, before {earlier['before']}", Tone.QUIET))
    return [*lines, *findings(diagnose(shown))]


def operation(shown: Json, times: Times) -> list[OutputLine]:
    """Show an operation with registrations and problems."""
    texts = [f"{each['id']}  {each['state']}  {each['callbackUrl']}" for each in shown["registrations"]]
    notified = [OutputLine("" if number else "notifies", text) for number, text in enumerate(texts)]
    return [OutputLine("operation", _operation(shown, times)), *notified, *findings(of_operation(shown))]


def findings(found: Sequence[Finding]) -> list[OutputLine]:
    """Show problems and advice."""
    pairs = (
        (OutputLine("broken", f"{each.where}: {each.hint.what} ({each.seen})", Tone.BAD), _advice(each))
        for each in found
    )
    return [line for pair in pairs for line in pair]


def _queue(queue: Json, times: Times) -> Iterator[OutputLine]:
    """Show the problem of the queue, if any. A bridge of an older version does not report it."""
    if queue.get("problem"):
        yield OutputLine("queue", f"{queue['problem']}, {times.since(queue['since'])}", Tone.BAD)
        yield OutputLine("", str(queue["advice"]), Tone.WARN)


def status(seen: Json, troubled: Sequence[Trouble], times: Times) -> list[OutputLine]:
    """Show the status of the bridge."""
    counts = (
        f"{state} {each['count']}{' or more' if each['more'] else ''}" for state, each in seen["registrations"].items()
    )
    swept, overdue = seen["lastSweepAt"], seen["oldestOverdueAt"]
    lines = [
        OutputLine("last sweep", times.past_cell(swept) if swept else "none yet", Tone.PLAIN if swept else Tone.BAD),
        OutputLine("overdue", times.since(overdue) if overdue else "nothing", Tone.WARN if overdue else Tone.PLAIN),
        OutputLine("registrations", ", ".join(counts)),
        *_queue(seen.get("queue") or {}, times),
        *(line for each in seen["sources"] for line in _source(each, times)),
    ]
    for each in troubled:
        more = f", and {len(each.registrations) - _SHOWN_IDS} more" if len(each.registrations) > _SHOWN_IDS else ""
        which = OutputLine("", ", ".join(each.registrations[:_SHOWN_IDS]) + more, Tone.QUIET)
        broken, advice = findings([each.finding])
        lines += [broken, which, advice]
    return lines


def pinged(shown: Json) -> str:
    """Summarise the result of a ping."""
    return _outcome(shown) + _from(shown)


def list_row(entry: Json, times: Times) -> tuple[str, ...]:
    """Return a row of a list. `LIST_COLUMNS` has the headings."""
    status, due = operation_or_job(entry)["status"] or "-", entry["nextAttemptAt"]
    last_and_next = (_last_attempt(entry), times.due_cell(due) if due else "")
    return (entry["id"], entry["state"], status, times.past_cell(entry["since"]), entry["callbackUrl"], *last_and_next)


LIST_COLUMNS = ("registration", "state", "operation", "since", "callback", "last attempt", "next attempt")


def _last_attempt(entry: Json) -> str:
    """Return the last outcome of the current run, with the number of the attempt."""
    last = entry["lastAttempt"]
    return "" if last is None else f"{_kind(last)}, {last['number']} of {last['of']}"


def list_tone(entry: Json) -> Tone:
    """Return the colour of an entry. A pending one whose last attempt has failed is a warning."""
    is_retrying = entry["state"] == State.PENDING and entry["lastAttempt"] is not None
    return Tone.WARN if is_retrying else tone_of(entry)


def _state(shown: Json, times: Times) -> str:
    reason = f", {shown['reason']}" if shown["reason"] else ""
    again = f"; next attempt {times.due(shown['nextAttemptAt'])}" if shown["nextAttemptAt"] else ""
    deferred = f" (deferred by {shown['deferredBy']})" if shown["deferredBy"] else ""
    return f"{shown['state']}{reason} {times.since(shown['since'])}{again}{deferred}"


def _operation(known: Json, times: Times) -> str:
    """Describe an operation in one line."""
    reason = f", {known['reason']}" if known["reason"] else ""
    number = "once" if known["polls"] == 1 else f"{known['polls']} times"
    last = f", last {times.at(known['lastPolledAt'])}" if known["lastPolledAt"] else ""
    polled = f"polled {number}{last}" if known["polls"] else "not polled yet"
    again = f", next {times.due(known['nextPollAt'])}" if known["nextPollAt"] else ""
    return f"{known['id']} at {known['source']}: {known['status'] or 'not known yet'}{reason}; {polled}{again}"


def _attempts(made: Sequence[Json], times: Times) -> Iterator[OutputLine]:
    """Show attempts. Equal ones in a row become one line, with the answer of the receiver below."""
    label = "attempts"
    for (outcome, body), group in groupby(made, key=lambda each: (_outcome(each), each["body"])):
        first, *more = group
        if more:
            last = more[-1]
            when = f"{times.past_cell(first['at'])} to {times.past_cell(last['at'])}"
            text = f"{first['number']} to {last['number']}  {when}  {outcome}, {len(more) + 1} times"
        else:
            text = f"{first['number']}  {times.past_cell(first['at'])}  {outcome}{_from(first)}"
        yield OutputLine(label, text)
        label = ""
        yield from (OutputLine("", f"    {line}", Tone.QUIET) for line in _body(body))


def _body(body: str | None) -> list[str]:
    """Return the lines of a receiver's answer. JSON gets a line per field."""
    if not body:
        return []
    try:
        parsed = json.loads(body)
        lines = json.dumps(parsed, ensure_ascii=False, indent=2).splitlines()
    except (ValueError, RecursionError):
        lines = [body]
    return lines if len(lines) <= _SHOWN_LINES else [*lines[:_SHOWN_LINES], "…"]


def _outcome(made: Json) -> str:
    if made["error"] is not None:
        return f"{made['error']}: {made['detail']}" if made.get("detail") else str(made["error"])
    to = f" to {made['location']}" if made.get("location") else ""
    return "under way" if made["status"] is None else f"HTTP {made['status']}{to}"


def _from(made: Json) -> str:
    address = f" from {made['address']}" if made["address"] else ""
    return address + (f" in {made['durationMs']} ms" if made["durationMs"] is not None else "")


def _source(each: Json, times: Times) -> list[OutputLine]:
    rate = f"{each['requestsPerSecond']:g} of {each['highestRequestsPerSecond']:g} requests a second"
    ends = ((word, each[f"{word}Until"]) for word in ("paused", "stopped"))
    waits = "".join(f", {word} {times.until(end)}" for word, end in ends if end)
    lines = [OutputLine(f"source {each['name']}", f"{rate}{waits}", Tone.WARN if waits else Tone.PLAIN)]
    if each["problem"]:
        lines += [
            OutputLine("broken", f"source {each['name']}: {poll_error(each['problem'])}", Tone.BAD),
            OutputLine("do", each["advice"], Tone.ADVICE),
        ]
    return lines


def _advice(found: Finding) -> OutputLine:
    return OutputLine("do", found.hint.do, Tone.ADVICE)
