"""Converts records and results of the use cases to the models of responses."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from bridge import __version__
from bridge.api import responses
from bridge.diagnostics import QUEUE, of_poll
from bridge.domain.attempt import AttemptRecord
from bridge.domain.callback_url import host_and_port, without_query
from bridge.domain.delivery import headers_of, unsigned_headers_of
from bridge.domain.ids import Kind, OperationRef
from bridge.domain.keyring import Keyring, PublicKey
from bridge.domain.operation import Operation
from bridge.domain.outcome import KEPT_ANSWER, LastAttempt, Unreachable
from bridge.domain.poll_schedule import Forecast
from bridge.domain.rate_limit import Budget
from bridge.domain.registration import Registration
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.domain.text import clipped
from bridge.domain.upstream import Source
from bridge.services.bulk_redelivery import Preview, Started
from bridge.services.dispatch import QueueProblem
from bridge.services.ping import Pinged
from bridge.services.queries import COUNTED, JobHint, RegistrationView, Status
from bridge.services.reports import Day, Hour
from bridge.storage.aggregate import OperationAggregate, as_seen_by
from bridge.storage.index import IndexEntry
from bridge.storage.keys import due_at


def registration(view: RegistrationView, now: datetime, url: str | None) -> responses.RegistrationResponse:
    """Return a registration with its operation and attempts. `url` is the whole callback URL, only for the owner."""
    known = _registration(view.registration)
    own = {} if url is None else {"callback_url": url}
    return responses.RegistrationResponse.of(
        known,
        **own,
        **_followed(as_seen_by(view.registration, view.operation), view.hint),
        attempts=[attempt(each, now) for each in view.attempts],
        earlier_attempts=_earlier(view),
    )


def message(registration: Registration, keyring: Keyring | None, now: datetime) -> responses.MessageResponse:
    """Return the message of a registration, signed now by a keyring, or without a signature.

    Raises InvalidTransition if there is no message.
    """
    sent, trace = registration.expected_message(), registration.traceparent
    headers = {"webhook-id": sent.id, **unsigned_headers_of(registration, trace=trace)}
    if keyring is not None:
        headers = headers_of(registration, sent, keyring, at=now, trace=trace)
    lower = {name.lower(): value for name, value in headers.items()}
    return responses.MessageResponse(headers=lower, body=sent.body.decode("utf-8", "replace"))


def page(entries: Iterable[IndexEntry], next_link: str | None) -> responses.PageResponse:
    """Return a page of a list."""
    return responses.PageResponse(value=[_entry(each) for each in entries], next_link=next_link)


def _entry(each: IndexEntry) -> responses.Entry:
    ref = each.ref.operation
    last = each.last_recorded
    return responses.Entry.of(
        each,
        **_common(each),
        last_attempt=None if last is None else _last_attempt(last),
        **_as_kind(ref, responses.EntrysOperation(id=ref.id, source=ref.source, status=each.final_status)),
    )


def _last_attempt(last: LastAttempt) -> responses.LastAttemptResponse:
    return responses.LastAttemptResponse(
        number=last.number, run_length=ATTEMPTS_PER_RUN, status=last.status, error=last.error, at=last.at
    )


def _followed(known: Operation, hint: JobHint | None) -> Mapping[str, object]:
    """Return the field of an operation or a job."""
    if known.ref.is_job:
        return _as_kind(known.ref, responses.JobResponse.of(known, **_polled(known)))
    return _as_kind(known.ref, responses.OperationResponse.of(known, **_polled(known), hint=hint))


def _as_kind(ref: OperationRef, shown: object) -> Mapping[str, object]:
    """Name a value by the kind, and leave the field of the other kind without one."""
    return {kind.value: shown if kind is ref.kind else None for kind in Kind}


def _polled(known: Operation) -> Mapping[str, object]:
    next_poll_at = due_at(known.due) if known.is_polled else None
    return {"id": known.ref.id, "source": known.ref.source, "next_poll_at": next_poll_at}


def aggregate(
    known: OperationAggregate, hint: JobHint | None
) -> responses.OperationWithRegistrations | responses.JobWithRegistrations:
    """Return an operation or a job with its registrations."""
    by_age = sorted(known.registrations.values(), key=lambda each: each.record.generation)
    registrations, record = [_registration(each.record) for each in by_age], known.operation.record
    if record.ref.is_job:
        return responses.JobWithRegistrations.of(record, **_polled(record), registrations=registrations)
    return responses.OperationWithRegistrations.of(record, **_polled(record), hint=hint, registrations=registrations)


def attempt(made: AttemptRecord, now: datetime) -> responses.AttemptResponse:
    """Return one attempt."""
    return responses.AttemptResponse.of(
        made,
        error=made.error_at(now),
        detail=made.detail_at(now),
        location=None if made.location is None else without_query(made.location),
        body=None if made.body is None else clipped(made.body, KEPT_ANSWER) or None,
    )


def status(seen: Status, sources: Sequence[Source]) -> responses.StatusResponse:
    """Return the status of the bridge."""
    return responses.StatusResponse.of(
        seen,
        version=__version__,
        clocks_ahead=[
            responses.ClockAhead(row=row, columns=list(columns)) for row, columns in seen.clocks_ahead.items()
        ],
        registrations={
            state: responses.Count(count=min(count, COUNTED), more=count > COUNTED)
            for state, count in seen.counts.items()
        },
        queue=_queue(seen.queue),
        sources=[_source(each, seen.budgets.get(each.name), seen.forecasts) for each in sources],
    )


def _queue(problem: QueueProblem | None) -> responses.Queue:
    if problem is None:
        return responses.Queue(problem=None, advice=None, since=None)
    hint = QUEUE[problem.is_refusal]
    return responses.Queue(problem=f"{hint.what} ({problem.code})", advice=hint.do, since=problem.since)


def _source(known: Source, budget: Budget | None, forecasts: Sequence[Forecast]) -> responses.SourceWithDurations:
    problem = None if budget is None else budget.denied or (budget.fault if budget.unreachable_at else None)
    return responses.SourceWithDurations.of(
        known,
        requests_per_second=known.requests_per_second if budget is None else round(budget.rate, 4),
        highest_requests_per_second=known.requests_per_second,
        stopped_until=budget.stopped_until if budget else None,
        shadow_price=round(budget.shadow_price, 2) if budget else 1.0,
        paused_until=budget.paused_until if budget else None,
        unreachable_since=budget.silent_since if budget and budget.unreachable_at else None,
        problem=problem,
        advice=of_poll(problem.kind).do if problem else None,
        durations=durations(forecasts, known.name),
    )


def durations(forecasts: Sequence[Forecast], name: str) -> responses.Durations:
    """Show the learnt durations of a source: the share of operations that ends from each age on."""
    known = {each.group: each for each in forecasts if each.source == name and each.kind is Kind.OPERATION}
    whole = known.pop(None, Forecast(source=name))
    groups = [group for group in known if group is not None]
    return responses.Durations(completions=round(whole.completions, 1), shares=_shares(whole), groups=groups)


def overview(day: Day, forecasts: Iterable[Forecast]) -> responses.OverviewResponse:
    """Return the last day and the schedule in the form of the pictures."""
    return responses.OverviewResponse(
        begins=day.begins,
        complete_from=day.whole_from,
        hours=[_hour(each) for each in day.hours],
        schedules=[_expected(each) for each in forecasts],
    )


def _hour(each: Hour) -> responses.HourResponse:
    delays = (
        responses.Delays(p50=each.within(0.5), p95=each.within(0.95), max=each.within(1.0)) if each.delays else None
    )
    return responses.HourResponse.of(each, delay_seconds=delays)


def _expected(each: Forecast) -> responses.ExpectedResponse:
    return responses.ExpectedResponse.of(
        each,
        completions=round(each.completions, 1),
        shares=_shares(each),
        median_seconds=None if each.median is None else round(each.median, 1),
        polls_at_seconds=[round(age, 1) for age in each.polls_at],
    )


def _shares(each: Forecast) -> list[responses.Share]:
    return [responses.Share(from_seconds=round(age, 1), share=round(share, 4)) for age, share in each.shares]


def pinged(ping: Pinged) -> responses.PingResponse:
    """Return the result of a ping in the form of an attempt."""
    outcome = ping.outcome
    answer = None if isinstance(outcome, Unreachable) else outcome
    failure = outcome if isinstance(outcome, Unreachable) else None
    return responses.PingResponse(
        message=responses.MessageName(id=ping.message.id, type=ping.message.type),
        at=ping.at,
        duration_ms=ping.took // timedelta(milliseconds=1),
        address=outcome.address,
        status=answer.status if answer else None,
        error=failure.error if failure else None,
        detail=failure.detail if failure else None,
        location=answer.location if answer else None,
        body=(answer.body or None) if answer else None,
    )


def started(redelivery: Started, cursor: str | None) -> responses.RedeliveryResponse:
    """Return the result of a bulk redelivery, with the encrypted cursor of the next call."""
    ids = [ref.public_id for ref in redelivery.refs]
    return responses.RedeliveryResponse(started=len(ids), registrations=ids, more=cursor is not None, cursor=cursor)


def preview(found: Preview) -> responses.RedeliveryPreview:
    """Count the registrations that a bulk redelivery would start, by host and outcome."""
    counts = Counter((host_and_port(entry.callback_url), _outcome(entry)) for entry in found.entries)
    largest_first = sorted(counts.items(), key=lambda each: (-each[1], each[0][0], each[0][1] or ""))
    return responses.RedeliveryPreview(
        total=len(found.entries),
        by_host=[
            responses.PreviewedGroup(host=host, outcome=outcome, count=count)
            for (host, outcome), count in largest_first
        ],
        more=found.has_more,
    )


def _outcome(entry: IndexEntry) -> str | None:
    last = entry.last_recorded
    return None if last is None else last.error if last.status is None else str(last.status)


def public_keys(keys: Sequence[PublicKey]) -> responses.PublicKeys:
    """Return the public keys for `v1a`."""
    return responses.PublicKeys(value=[responses.PublicKeyResponse.of(each, public_key=each.text) for each in keys])


def _registration(known: Registration) -> responses.OperationsRegistration:
    metadata = None if known.metadata is None else json.loads(known.metadata)
    return responses.OperationsRegistration.of(known, **_common(known), metadata=metadata)


def _common(known: Registration | IndexEntry) -> Mapping[str, object]:
    """Return the fields of a registration that are not attributes of its records."""
    named = known.message_id is not None and known.message_type is not None
    return {
        "id": known.ref.public_id,
        "callback_url": without_query(known.callback_url),
        "created_at": known.generation,
        "message": responses.MessageName(id=known.message_id, type=known.message_type) if named else None,
    }


def _earlier(view: RegistrationView) -> responses.EarlierAttempts | None:
    """Summarise the attempts that are no longer kept."""
    count = view.registration.last_attempt - len(view.attempts)
    before = view.attempts[0].at if view.attempts else view.registration.since
    return responses.EarlierAttempts(count=count, before=before) if count > 0 else None
