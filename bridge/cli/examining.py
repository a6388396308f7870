"""Checks of the doctor over the bridge's HTTP API: health, access, clock, sweeps, sources, deliveries."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import requests

from bridge.cli.client import Api, Json, parse_date
from bridge.cli.errors import CommandFailed, Refused
from bridge.cli.output import instant
from bridge.cli.showing import poll_error, troubles
from bridge.diagnostics import of_poll
from bridge.domain.time import Clock
from bridge.storage.keys import HEARTBEAT_KEY

#: The largest accepted difference between clocks.
AGREEMENT = timedelta(seconds=30)

#: The oldest healthy heartbeat. A heartbeat is written once a minute, and sweeps are 10 s apart.
LATEST_SWEEP = timedelta(minutes=3)

#: The largest healthy lateness: the next sweep performs due work, or a few sweeps later under load.
OVERDUE = timedelta(minutes=2)

_MISCONFIGURED = "Misconfigured"


class Health(StrEnum):
    """The result of a check."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Examined:
    """One check, with advice if the result is bad."""

    name: str
    health: Health
    text: str
    do: str | None = None

    def shown(self) -> Json:
        """Convert to JSON."""
        return {"name": self.name, "health": self.health.value, "text": self.text, "do": self.do}


def over_the_bridge(api: Api, clock: Clock) -> Iterator[Examined]:
    """Check a running bridge step by step. Stops at the first failure that hides the other results."""
    try:
        answer = api.answer("GET", "health")
    except CommandFailed as error:
        yield _failed("bridge", error)
        return
    yield _alive(answer, api.url)
    yield agreement("clock", "the bridge's", answer.headers.get("Date"), clock())
    try:
        status = api.get("status")
    except Refused as error:
        yield from _refused(error)
        return
    except CommandFailed as error:
        yield _failed("access", error)
        return
    yield Examined("access", Health.GOOD, "the bridge accepts the credential")
    yield from _sweeps(status, clock())
    yield from _queue(status.get("queue") or {})
    for source in status["sources"]:
        yield _source(source)
    yield from _deliveries(api)


def agreement(name: str, whose: str, date: str | None, now: datetime) -> Examined:
    """Compare this machine's clock with the `Date` of an answer (RFC 9110, 6.6.1)."""
    at = parse_date(date)
    if at is None:
        return Examined(name, Health.SKIPPED, "not compared: the answer has no Date that can be read")
    apart = now - at
    seconds = abs(apart) // timedelta(seconds=1)
    if abs(apart) <= AGREEMENT:
        return Examined(name, Health.GOOD, f"agrees with {whose} within {AGREEMENT.seconds} s")
    behind = "ahead of" if apart > timedelta(0) else "behind"
    do = "set this machine's clock; the bridge's own machines must agree within 30 s"
    return Examined(name, Health.BAD, f"this clock is {seconds} s {behind} {whose}", do)


def _alive(answer: requests.Response, url: str) -> Examined:
    if answer.ok:
        return Examined("bridge", Health.GOOD, f"alive at {url}")
    try:
        is_ours = answer.json() == {"status": "misconfigured"}
    except ValueError:
        is_ours = False
    if is_ours:
        return Examined(
            "bridge", Health.BAD, "its settings are missing or wrong", "correct the settings that `settings` names"
        )
    do = "set BRIDGE_URL to the address of the function app, without a path"
    return Examined("bridge", Health.BAD, f"HTTP {answer.status_code} at {url}/api/health", do)


def _refused(error: Refused) -> Iterator[Examined]:
    if error.code != _MISCONFIGURED:
        yield _failed("access", error)
    for name, problem in error.details if error.code == _MISCONFIGURED else ():
        yield Examined("settings", Health.BAD, f"{name}: {problem}", f"set {name} for the function app")


def _failed(name: str, error: CommandFailed) -> Examined:
    return Examined(name, Health.BAD, error.what, error.do or "read the log of the function app")


def _sweeps(status: Json, now: datetime) -> Iterator[Examined]:
    last, overdue = (
        None if status[name] is None else instant(status[name]) for name in ("lastSweepAt", "oldestOverdueAt")
    )
    timer = "check BRIDGE_POLL_SCHEDULE and that the function `sweep` exists and is enabled, then restart the app"
    ahead = [each["row"] for each in status.get("clocksAhead", ())]
    if ahead:
        text = f"times of {', '.join(ahead)} lie ahead: the clock of an instance is, or was, wrong"
        yield Examined("clocks", Health.BAD, text, "nothing, if it passes within a minute; else restart the app")
    if HEARTBEAT_KEY in ahead:
        yield Examined("last sweep", Health.BAD, "unknown: its time lies ahead, and no sweep has corrected it", timer)
    elif last is None or now - last > LATEST_SWEEP:
        seen = "none yet" if last is None else f"{(now - last) // timedelta(seconds=1)} s ago"
        yield Examined("last sweep", Health.BAD, f"{seen}: the timer does not run", timer)
    else:
        yield Examined("last sweep", Health.GOOD, str(status["lastSweepAt"]))
    if overdue is not None and now - overdue > OVERDUE:
        waits = f"the oldest due row is {(now - overdue) // timedelta(seconds=1)} s late"
        do = "check the source's line; under load, raise BRIDGE_SWEEP_THREADS or SPEECH_REQUESTS_PER_SECOND"
        yield Examined("overdue", Health.BAD, waits, do)
    else:
        yield Examined("overdue", Health.GOOD, "no due row is late")


def _queue(queue: Json) -> Iterator[Examined]:
    if queue.get("problem"):
        yield Examined("queue", Health.BAD, f"{queue['problem']}, since {queue['since']}", str(queue["advice"]))


def _source(source: Json) -> Examined:
    name = f"source {source['name']}"
    if source.get("unreachableSince"):
        text = f"no answer since {source['unreachableSince']} ({poll_error(source['problem'])})"
        return Examined(name, Health.BAD, text, source["advice"])
    if error := source["problem"]:
        text = f"{of_poll(error['kind']).what} ({poll_error(error)}); paused until {source['pausedUntil']}"
        return Examined(name, Health.BAD, text, source["advice"])
    if source["stoppedUntil"]:
        do = "nothing, if it passes; else lower SPEECH_REQUESTS_PER_SECOND or raise the resource's quota"
        return Examined(name, Health.BAD, f"throttled: no polls until {source['stoppedUntil']}", do)
    return Examined(name, Health.GOOD, f"{source['requestsPerSecond']:g} requests a second at {source['endpoint']}")


def _deliveries(api: Api) -> Iterator[Examined]:
    try:
        found = troubles(api)
    except CommandFailed as error:
        yield _failed("registrations", error)
        return
    for each in found:
        hint = each.finding.hint
        ids = f"{len(each.registrations)} registration{'s' if len(each.registrations) > 1 else ''}"
        text = f"{hint.what} ({each.finding.seen}); {ids}, {each.registrations[0]} for one"
        yield Examined(each.finding.where, Health.BAD, text, hint.do)
    if not found:
        yield Examined("registrations", Health.GOOD, "no problem among the newest that are waiting, pending or dead")
