"""How things look from outside: JSON in camelCase, times in ISO 8601 UTC. `responses.py` says what is in each."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from bridge.api import responses
from bridge.diagnostics import QUEUE, of_denial, of_poll
from bridge.domain.attempt import AttemptRecord
from bridge.domain.callback_url import without_query
from bridge.domain.events import subscriber_of
from bridge.domain.keyring import PublicKey
from bridge.domain.learnt.durations import EDGES, DurationModel, HazardCurve
from bridge.domain.operation import Operation
from bridge.domain.outcome import KEPT_ANSWER, Unreachable
from bridge.domain.rate_limit import Budget
from bridge.domain.registration import Registration
from bridge.domain.text import clipped
from bridge.domain.time import iso, iso_or_none
from bridge.domain.upstream import Source
from bridge.services.bulk_redelivery import Started
from bridge.services.dispatch import QueueProblem
from bridge.services.ping import Pinged
from bridge.services.queries import COUNTED, RegistrationView, Status
from bridge.services.reports import Day, Expected, Hour
from bridge.storage.aggregate import OperationAggregate, as_seen_by
from bridge.storage.index import IndexEntry
from bridge.storage.keys import due_at, duration_key


def registration(view: RegistrationView, now: datetime, url: str | None) -> responses.RegistrationResponse:
    """Show a registration with its operation and its attempts; `url` is its whole callback URL, for its owner alone."""
    known = _registration(view.registration)
    return {
        **known,
        "callbackUrl": known["callbackUrl"] if url is None else url,
        "operation": operation(as_seen_by(view.registration, view.operation)),
        "attempts": [attempt(each, now) for each in view.attempts],
        "earlierAttempts": _earlier(view),
    }


def entry(each: IndexEntry) -> responses.Entry:
    """Show a registration as a list does: what the index carries."""
    ref = each.ref.operation
    return {
        "id": each.ref.public_id,
        "callbackUrl": without_query(each.callback_url),
        "events": list(each.events),
        "format": each.format,
        "state": each.state,
        "since": iso(each.since),
        "reason": each.reason,
        "createdAt": iso(each.generation),
        "operation": {"id": ref.id, "source": ref.source, "status": each.final_status},
        "message": _message(each.message_id, each.message_type),
        "nextAttemptAt": iso_or_none(each.next_attempt_at),
        "deferredBy": each.deferred_by,
        "deliveredAt": iso_or_none(each.delivered_at),
    }


def page(entries: Iterable[IndexEntry], next_link: str | None) -> responses.PageResponse:
    """Show part of a list."""
    return {"value": [entry(each) for each in entries], "nextLink": next_link}


def operation(known: Operation) -> responses.OperationResponse:
    """Show what is known of an operation."""
    return {
        "id": known.ref.id,
        "source": known.ref.source,
        "status": known.status,
        "reason": known.reason,
        "registeredAt": iso(known.registered_at),
        "polls": known.polls,
        "lastPolledAt": iso_or_none(known.last_polled_at),
        "nextPollAt": iso_or_none(due_at(known.due)) if known.is_polled else None,
        "finishedAt": iso_or_none(known.finished_at),
        "lastError": known.last_error,
    }


def aggregate(known: OperationAggregate) -> responses.OperationWithRegistrations:
    """Show an operation with its registrations."""
    registrations = sorted(known.registrations.values(), key=lambda each: each.record.generation)
    return {
        **operation(known.operation.record),
        "registrations": [_registration(each.record) for each in registrations],
    }


def attempt(made: AttemptRecord, now: datetime) -> responses.AttemptResponse:
    """Show one attempt."""
    return {
        "number": made.number,
        "at": iso(made.at),
        "durationMs": made.duration_ms,
        "address": made.address,
        "status": made.status,
        "error": made.error_at(now),
        "detail": made.detail_at(now),
        "location": None if made.location is None else without_query(made.location),
        "body": None if made.body is None else clipped(made.body, KEPT_ANSWER) or None,
    }


def status(seen: Status, sources: Sequence[Source]) -> responses.StatusResponse:
    """Show how the bridge is."""
    return {
        "lastSweepAt": iso_or_none(seen.last_sweep_at),
        "clocksAhead": [{"row": row, "columns": list(columns)} for row, columns in seen.clocks_ahead.items()],
        "oldestOverdueAt": iso_or_none(seen.oldest_overdue_at),
        "registrations": {
            state: {"count": min(count, COUNTED), "more": count > COUNTED} for state, count in seen.counts.items()
        },
        "queue": _queue(seen.queue),
        "sources": [
            {**source(each, seen.budgets.get(each.name)), "durations": durations(seen.models, each.name)}
            for each in sources
        ],
    }


def _queue(problem: QueueProblem | None) -> responses.Queue:
    """Show whether messages can be sent to the queue, and what to do if not."""
    if problem is None:
        return {"problem": None, "advice": None, "since": None}
    hint = QUEUE[problem.is_refusal]
    return {"problem": f"{hint.what} ({problem.code})", "advice": hint.do, "since": iso(problem.since)}


def source(known: Source, budget: Budget | None) -> responses.SourceResponse:
    """Show a source, how often it is asked, and why it is not."""
    return {
        "name": known.name,
        "endpoint": known.endpoint,
        "path": known.path,
        "apiVersion": known.api_version,
        "requestsPerSecond": known.requests_per_second if budget is None else round(budget.rate, 4),
        "highestRequestsPerSecond": known.requests_per_second,
        "stoppedUntil": iso_or_none(budget.stopped_until if budget else None),
        "shadowPrice": round(budget.shadow_price, 2) if budget else 1.0,
        "pausedUntil": iso_or_none(budget.paused_until if budget else None),
        "unreachableSince": iso_or_none(budget.silent_since if budget and budget.unreachable_at else None),
        **_problem(budget),
    }


class _Problem(TypedDict):
    problem: str | None
    advice: str | None


def _problem(budget: Budget | None) -> _Problem:
    """Say what keeps a source from answering, and what to do: a credential, or faults alone for some minutes."""
    if budget is not None and budget.denied:
        return {"problem": budget.denied, "advice": of_denial(budget.denied).do}
    if budget is not None and budget.unreachable_at and budget.fault:
        hint = of_poll(budget.fault)
        return {"problem": budget.fault, "advice": None if hint is None else hint.do}
    return {"problem": None, "advice": None}


def durations(models: Mapping[str, DurationModel], name: str) -> responses.Durations:
    """Show what was learnt of how long a source's operations take: which share ends from each age on."""
    own = duration_key(name, None)
    model = models.get(own, DurationModel())
    groups = sorted(key.removeprefix(own) for key in models if key.startswith(own) and key != own)
    return {
        "completions": round(model.weight, 1),
        "shares": _shares(model, model.curve()),
        "groups": groups,
    }


def overview(day: Day, known: Iterable[Expected]) -> responses.Overview:
    """Show the last day and the schedule as pictures need it."""
    return {
        "from": iso(day.begins),
        "completeFrom": iso(day.whole_from),
        "hours": [_hour(each) for each in day.hours],
        "schedules": [_expected(each) for each in known],
    }


def _hour(each: Hour) -> responses.Hour:
    delays: responses.Delays | None = (
        {"p50": each.within(0.5), "p95": each.within(0.95), "max": each.within(1.0)} if each.delays else None
    )
    return {"from": iso(each.begins), "delivered": each.delivered, "dead": each.dead, "delaySeconds": delays}


def _expected(each: Expected) -> responses.ExpectedResponse:
    return {
        "source": each.source,
        "group": each.group,
        "completions": round(each.model.weight, 1),
        "shares": _shares(each.model, each.curve),
        "medianSeconds": round(each.curve.outlived_by(0.5), 1) if each.model.weight else None,
        "pollsAtSeconds": [round(age, 1) for age in each.polls_at],
    }


def _shares(model: DurationModel, curve: HazardCurve) -> list[responses.Share]:
    shares = curve.shares() if model.weight else ()
    return [
        {"fromSeconds": round(edge, 1), "share": round(share, 4)} for edge, share in zip(EDGES, shares, strict=False)
    ]


def pinged(ping: Pinged) -> responses.PingResponse:
    """Show what came of a ping, as an attempt is shown."""
    outcome = ping.outcome
    answer = None if isinstance(outcome, Unreachable) else outcome
    failure = outcome if isinstance(outcome, Unreachable) else None
    return {
        "message": {"id": ping.message.id, "type": ping.message.type},
        "at": iso(ping.at),
        "durationMs": ping.took // timedelta(milliseconds=1),
        "address": outcome.address,
        "status": answer.status if answer else None,
        "error": failure.error if failure else None,
        "detail": failure.detail if failure else None,
        "location": answer.location if answer else None,
        "body": (answer.body or None) if answer else None,
    }


def started(redelivery: Started, cursor: str | None) -> responses.RedeliveryResponse:
    """Show what a redelivery of many has begun, and the encrypted cursor with which another call goes on."""
    ids = [ref.public_id for ref in redelivery.refs]
    return {"started": len(ids), "registrations": ids, "more": cursor is not None, "cursor": cursor}


def with_secret(shown: responses.RegistrationResponse, owner: str, secret: str) -> responses.Registered:
    """Show a registration to its owner, with all that its receiver needs for verification."""
    return {**shown, "subscriber": subscriber_of(owner), "signingSecret": secret}


def public_keys(keys: Sequence[PublicKey]) -> responses.PublicKeys:
    """Show what everybody verifies `v1a` with."""
    return {"value": [{"id": each.id, "publicKey": each.text} for each in keys]}


def _registration(known: Registration) -> responses.OperationsRegistration:
    return {
        "id": known.ref.public_id,
        "callbackUrl": without_query(known.callback_url),
        "events": list(known.events),
        "metadata": None if known.metadata is None else json.loads(known.metadata),
        "format": known.format,
        "group": known.group,
        "state": known.state,
        "since": iso(known.since),
        "reason": known.reason,
        "createdAt": iso(known.generation),
        "message": _message(known.message_id, known.message_type),
        "nextAttemptAt": iso_or_none(known.next_attempt_at),
        "deferredBy": known.deferred_by,
        "deliveredAt": iso_or_none(known.delivered_at),
    }


def _earlier(view: RegistrationView) -> responses.EarlierAttempts | None:
    """Summarise the attempts that are not kept any longer."""
    count = view.registration.last_attempt - len(view.attempts)
    before = view.attempts[0].at if view.attempts else view.registration.since
    return {"count": count, "before": iso(before)} if count > 0 else None


def _message(message_id: str | None, message_type: str | None) -> responses.MessageName | None:
    return None if message_id is None or message_type is None else {"id": message_id, "type": message_type}
