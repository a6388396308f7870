"""What is wrong with registrations, and what to do: the table of `bridge/diagnostics.py` on what the API shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from bridge import diagnostics
from bridge.cli.client import Api, Json, other_version
from bridge.cli.errors import Refused
from bridge.diagnostics import Hint

#: The states in which something can be wrong that somebody can still mend.
_TROUBLED = ("waiting", "pending", "dead")

#: So many registrations of each state are looked at, the newest.
LOOKED_AT = 20

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    #: The receiver's host and port, or the source.
    where: str
    #: What was seen: a status, a class of failure, Speech's own words.
    seen: str
    hint: Hint


@dataclass(frozen=True, slots=True)
class Trouble:
    """The same thing wrong with some registrations."""

    finding: Finding
    registrations: Sequence[str]

    def shown(self) -> Json:
        """Write it as JSON."""
        found = self.finding
        return {
            "where": found.where,
            "seen": found.seen,
            "what": found.hint.what,
            "do": found.hint.do,
            "registrations": list(self.registrations),
        }


def diagnose(shown: Json) -> list[Finding]:
    """Say what is wrong with a registration as the API shows it, the cause before the effect."""
    operation = shown["operation"]
    found = [_of_operation(operation), None if shown["state"] == "delivered" else _of_attempts(shown)]
    return [each for each in found if each is not None]


def of_operation(operation: Json) -> list[Finding]:
    """Say what is wrong with an operation alone."""
    found = _of_operation(operation)
    return [] if found is None else [found]


def troubles(api: Api) -> list[Trouble]:
    """Look at the newest registrations that wait, are delivered or are dead, and group what is wrong with them.

    Costs a read of each. Raises Unreachable and Refused.
    """
    grouped: dict[Finding, list[str]] = {}
    for shown in _looked_at(api):
        for finding in diagnose(shown):
            grouped.setdefault(finding, []).append(shown["id"])
    return [Trouble(finding, ids) for finding, ids in grouped.items()]


def ended_attempts(shown: Json) -> list[Json]:
    """Take out the attempts whose outcome is known."""
    return [each for each in shown.get("attempts", []) if each["error"] is not None or each["status"] is not None]


def _looked_at(api: Api) -> Iterator[Json]:
    for state in _TROUBLED:
        entries = api.get("registrations", state=state, limit=LOOKED_AT)["value"]
        for entry in islice(entries, LOOKED_AT):
            try:
                yield api.get(f"registrations/{entry['id']}")
            except Refused as error:
                if error.status != _NOT_FOUND:  # it was purged meanwhile
                    raise


def _of_operation(operation: Json) -> Finding | None:
    given_up = diagnostics.of_end(operation["reason"])
    hint = given_up or diagnostics.of_poll(operation["lastError"])
    if hint is None:
        return None
    seen = operation["lastError"] or f"{operation['status']}, {operation['reason']}"
    return Finding(f"source {operation['source']}", seen, hint)


def _of_attempts(shown: Json) -> Finding | None:
    ended = ended_attempts(shown)
    if not ended:
        return None
    last = ended[-1]
    hint = diagnostics.of_attempt(last["status"], last["error"], last.get("detail"), last.get("location"))
    seen = last["error"] or f"HTTP {last['status']}"
    return None if hint is None else Finding(f"receiver {_host_of(shown['callbackUrl'])}", seen, hint)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        raise other_version(f"{url[:80]!r} is not a URL") from None
