"""The handlers of the routes: each parses a request, calls a use case and answers.

The docstrings of the handlers are the summaries and descriptions of the operations in the OpenAPI description.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import assert_never
from urllib.parse import urlencode

import azure.functions as func

from bridge import __version__
from bridge.api import errors, views
from bridge.api.fields import ValidationContext
from bridge.api.http_response import cacheable, uncached, web_page
from bridge.api.query import (
    ListQuery,
    read_callback_url,
    read_cursor,
    read_list_query,
    read_purge,
    read_source,
    refuse_parameters,
)
from bridge.api.requests import read_order, read_ping, read_registration, redelivery_filter
from bridge.api.responses import HealthResponse, Registered, RegistrationResponse, SigningSecret
from bridge.domain.callback_url import host_and_port, origin_of, without_query
from bridge.domain.events import subscriber_of
from bridge.domain.header_cipher import HeaderCipher
from bridge.domain.ids import OPERATION_ID, Kind, OperationRef, RegistrationRef
from bridge.domain.keyring import Keyring
from bridge.domain.operation import Operation
from bridge.domain.principal import Principal
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.services.bulk_redelivery import Redeliver
from bridge.services.ping import Ping, Pinged, TooSoon
from bridge.services.queries import JobHint, Queries, RegistrationView
from bridge.services.registrations import (
    Accepted,
    Created,
    Differs,
    Existing,
    NoMessage,
    NotEnded,
    Register,
    RegistrationNotFound,
    Taken,
    TooMany,
    TooManyRuns,
    TooManyWaiting,
    Unreadable,
)
from bridge.services.reports import Overview
from bridge.storage.aggregate import OperationAggregate, as_seen_by, as_seen_by_all
from bridge.storage.index import CursorCipher, IndexEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """The handlers of all routes but health, and the use cases that they call. Each handler may raise Problem."""

    registrations: Register
    bulk_redelivery: Redeliver
    pinger: Ping
    queries: Queries
    reports: Overview
    context: ValidationContext
    keyring: Keyring
    clock: Clock
    #: The public URL of the app, if it differs from the URL of incoming requests.
    public_url: str | None
    #: Whether callers have tokens of a tenant instead of a key.
    by_token: bool
    #: Writes the OpenAPI description, which is derived from the routes, and so from these handlers.
    description: Callable[[], str]

    def register(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Register a callback for an operation.

        The callback URL gets one signed POST when the operation has ended. The same registration can be sent again at
        any time: the response shows the registration, and nothing changes. If a registration is canceled, or its
        operation has expired, registering again begins anew.
        """
        now = self.clock()
        requested, headers = read_registration(request, self.context, owner=principal.owner, now=now)
        result = self.registrations.register(replace(requested, by_admin=principal.can_read_all), headers)
        match result:
            case Created(registration=registration, operation=operation):
                location = f"{self._address(request)}/{registration.ref.public_id}"
                body = self._with_secret(RegistrationView(registration, operation, ()), principal)
                return uncached(body, status=HTTPStatus.CREATED, location=location, is_secret=True)
            case Existing(registration=registration, operation=operation):
                attempts = self.queries.attempts(registration)
                return uncached(
                    self._with_secret(RegistrationView(registration, operation, attempts), principal), is_secret=True
                )
            case _:
                raise _not_registered(result, self._address(request))

    def read_registration(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show a registration with operation and attempts.

        The response shows one moment. A registration of another owner is answered like one that does not exist.
        """
        return self._shown(self._readable_ref(request, principal), principal)

    def read_message(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show the message of a registration: the exact body of its callbacks, and their headers.

        The signature is made at the call, so it verifies like that of a new attempt. The client's own headers are not
        shown. Only the owner gets a signature: an admin sees the message of another owner without it.
        """
        registration = self.queries.record(_ref(request))
        if registration is None or not principal.can_read(registration.owner):
            raise errors.not_found("registration")
        if registration.message is None:
            raise errors.no_message_yet()
        is_owner = registration.owner == principal.owner
        shown = views.message(registration, self.keyring if is_owner else None, self.clock())
        return uncached(shown, is_secret=True)

    def list_registrations(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """List registrations, newest first by the time of their current state.

        An entry meets all given conditions. With `operationId` or `jobId` all registrations of one operation or job are
        on one page. The list can change while its pages are read: an entry moves with each change of state. A page
        reads a bounded number of rows, so it can be short, even empty, and still have a `nextLink`.
        """
        query = read_list_query(request)
        if query.about is not None:
            return uncached(views.page(self._of_operation(*query.about, query, principal), None))
        owner, cursors = principal.owner_filter, CursorCipher(self.keyring)
        cursor = read_cursor(query.cursor, cursors, owner=owner, query=query.filter)
        page = self.queries.page(
            query.states,
            limit=query.limit,
            cursor=cursor,
            owner=owner,
            where=query.where,
            message_id=query.message_id,
        )
        following = None if page.cursor is None else cursors.encrypt(page.cursor, owner=owner, query=query.filter)
        next_link = None if following is None else self._next_link(request, query, following)
        return uncached(views.page(page.entries, next_link))

    def cancel_registration(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Cancel a registration, or remove one that has ended.

        After a cancellation no further attempt is begun, and one in flight may still arrive. A registration that has
        ended stays in its state. Both cases are answered alike, so that a retry is safe. With `purge=true` a
        registration that has ended is removed with its message and its attempts.
        """
        is_purge = read_purge(request)
        ref = self._readable_ref(request, principal)
        result = self.registrations.purge(ref) if is_purge else self.registrations.cancel(ref)
        match result:
            case Accepted():
                return func.HttpResponse(status_code=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})
            case RegistrationNotFound():
                raise errors.not_found("registration")
            case NotEnded():
                message = "The registration is waiting or pending. Cancel it first, then purge it."
                raise errors.Problem(errors.ErrorCode.NOT_ENDED, message, target="id")
            case _:
                assert_never(result)

    def redeliver(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Deliver the same message again, or make the next attempt of a pending delivery now.

        A delivery that has ended gets another run of attempts. A pending one stays in its run: its next attempt is due
        now, also while the host's circuit is open, and the schedule goes on after it. An attempt in flight is that
        attempt, so nothing changes. The `webhook-id` and the bytes are those of the earlier attempts, so a receiver can
        drop a duplicate.
        """
        ref = self._readable_ref(request, principal)
        result = self.registrations.redeliver(ref)
        match result:
            case Accepted():
                return self._shown(ref, principal, status=HTTPStatus.ACCEPTED)
            case RegistrationNotFound():
                raise errors.not_found("registration")
            case Taken():
                raise errors.operation_taken("id")
            case NoMessage():
                raise errors.no_message_yet()
            case TooManyRuns(wait=wait):
                raise errors.too_many_runs(wait)
            case _:
                assert_never(result)

    def redeliver_many(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Deliver dead and pending registrations now, after an outage of the receiver.

        A dead registration gets a whole run of attempts. A pending one makes the next attempt of its run, and never
        later than without this call. The attempts are spread over a minute for each host, and the first of them is made
        also while the circuit of the host is open. If `more` is true, send the same request again with the `cursor` of
        the response. With `dryRun` nothing changes, and the response counts the same registrations by host and outcome.
        """
        cursors = CursorCipher(self.keyring)
        order, is_dry_run = read_order(request, cursors, owner=principal.owner_filter)
        if is_dry_run:
            return uncached(views.preview(self.bulk_redelivery.preview(order)))
        started = self.bulk_redelivery.redeliver(order)
        query = redelivery_filter(order.states, order.where)
        cursor = None if started.cursor is None else cursors.encrypt(started.cursor, owner=order.owner, query=query)
        return uncached(views.started(started, cursor), status=HTTPStatus.ACCEPTED)

    def ping(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Send a signed ping now, and show the response of the receiver.

        The status is 200 for any outcome, which the fields show. The ping is sent under the
        rules of callbacks, and is not repeated.
        """
        callback_url, kind = read_ping(request, self.context)
        result = self.pinger.ping(callback_url, kind, owner=principal.owner)
        match result:
            case Pinged():
                return uncached(views.pinged(result))
            case TooSoon(wait=wait):
                raise errors.too_many_pings(wait)
            case _:
                assert_never(result)

    def read_operation(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show an operation with its registrations.

        An owner sees only the own registrations, and the operation as these may see it.
        """
        return self._read(Kind.OPERATION, request, principal)

    def read_job(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show a job with its registrations.

        An owner sees only the own registrations, and the job as these may see it.
        """
        return self._read(Kind.JOB, request, principal)

    def _read(self, kind: Kind, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        id_ = request.route_params.get("id", "")
        source = read_source(request, self.context)
        known = self._readable(OperationRef(source, id_, kind), principal) if OPERATION_ID.fullmatch(id_) else None
        if known is None:
            raise errors.not_found(kind.value)
        return uncached(views.aggregate(known, self._hint(known.operation.record, principal)))

    def _hint(self, known: Operation, principal: Principal) -> JobHint | None:
        source = self.context.sources.get(known.ref.source)
        return (
            self.queries.hint(known, owner=principal.owner_filter) if source is not None and source.has_jobs else None
        )

    def status(self, _: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show the state of the bridge: sweeps, queue, sources, and the number of registrations in each state.

        The status covers all owners, so with tokens only an admin may read it.
        """
        if not principal.can_read_all:
            raise errors.for_admins()
        return uncached(views.status(self.queries.status(), list(self.context.sources.values())))

    def overview(self, _: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show the last 24 hours, and the learnt schedule.

        The hours count the caller's own registrations. Schedules cover the operations of all owners, so an
        owner gets none.
        """
        forecasts = self.reports.forecasts() if principal.can_read_all else ()
        return uncached(views.overview(self.reports.day(principal.owner_filter), forecasts))

    def signing_secret(self, request: func.HttpRequest, principal: Principal) -> func.HttpResponse:
        """Show the secret that callbacks to an origin are verified with.

        The secret derives from the signing key, the caller and the origin, so it can be read before
        anything is registered.
        """
        origin = origin_of(read_callback_url(request, self.context))
        owner = principal.owner
        secret = self._newest_secret(owner, origin)
        body = SigningSecret(audience=origin, subscriber=subscriber_of(owner), signing_secret=secret)
        return uncached(body, is_secret=True)

    def signing_keys(self, request: func.HttpRequest, _: Principal) -> func.HttpResponse:
        """Show the public keys that verify `v1a` signatures, newest first.

        Clients may keep them for an hour.
        """
        return cacheable(views.public_keys(self.keyring.public_keys()).text(), request)

    def describe(self, request: func.HttpRequest, _: Principal) -> func.HttpResponse:
        """Show this description.

        All deployments of a version have the same description. Clients may keep it for an hour.
        """
        return cacheable(self.description(), request)

    def dashboard(self, request: func.HttpRequest, _: Principal) -> func.HttpResponse:
        """Serve the page for people.

        The page contains no data. A user enters a key or a token, with which the page reads this API.
        """
        from bridge.dashboard import page  # a cold start does not wait for it

        made = page(by_token=self.by_token)
        return web_page(made.html, request, made.policy)

    def _address(self, request: func.HttpRequest) -> str:
        """Return the public URL of a request without its query, which can contain the key."""
        inner = str(request.url).partition("?")[0].rstrip("/")
        return inner if self.public_url is None else f"{self.public_url}/{inner.split('/', 3)[-1]}"

    def _next_link(self, request: func.HttpRequest, query: ListQuery, cursor: str) -> str:
        parameters = {**query.parameters, "limit": query.limit, "cursor": cursor}
        return f"{self._address(request)}?{urlencode(parameters)}"

    def _found(self, ref: RegistrationRef, principal: Principal) -> RegistrationView:
        view = self.queries.registration(ref)
        if view is None or not principal.can_read(view.registration.owner):
            raise errors.not_found("registration")
        return replace(view, hint=self._hint(as_seen_by(view.registration, view.operation), principal))

    def _readable_ref(self, request: func.HttpRequest, principal: Principal) -> RegistrationRef:
        """Return the requested registration. Another owner's counts as missing, at the same cost."""
        ref = _ref(request)
        owner = principal.owner if principal.can_read_all else self.queries.owner(ref)
        if owner is None or not principal.can_read(owner):
            raise errors.not_found("registration")
        return ref

    def _readable(self, ref: OperationRef, principal: Principal) -> OperationAggregate | None:
        """Return an operation with the registrations that the caller may read, or None if there is none of these."""
        known = self.queries.operation(ref)
        if known is None or principal.can_read_all:
            return known
        seen = {hash_: each for hash_, each in known.registrations.items() if principal.can_read(each.record.owner)}
        if not seen:
            return None
        operation = as_seen_by_all([each.record for each in seen.values()], known.operation.record)
        return replace(known, operation=replace(known.operation, record=operation), registrations=seen)

    def _of_operation(self, id_: str, kind: Kind, query: ListQuery, principal: Principal) -> Iterable[IndexEntry]:
        aggregates = (self._readable(OperationRef(name, id_, kind), principal) for name in self.context.sources)
        found = [each.record for known in aggregates if known for each in known.registrations.values()]
        newest_first = sorted(found, key=lambda each: each.since, reverse=True)
        listed = (IndexEntry.of(each) for each in newest_first)
        return (each for each in listed if query.matches(each))

    def _with_secret(self, view: RegistrationView, principal: Principal) -> Registered:
        registration = view.registration
        secret = self._newest_secret(registration.owner, origin_of(registration.callback_url))
        subscriber = subscriber_of(registration.owner)
        return Registered.of(self._view(view, principal), subscriber=subscriber, signing_secret=secret)

    def _shown(
        self, ref: RegistrationRef, principal: Principal, *, status: HTTPStatus = HTTPStatus.OK
    ) -> func.HttpResponse:
        """Answer with a registration. The query of its callback URL is a secret, too."""
        body = self._view(self._found(ref, principal), principal)
        is_secret = body.callback_url != without_query(body.callback_url)
        return uncached(body, status=status, is_secret=is_secret)

    def _view(self, view: RegistrationView, principal: Principal) -> RegistrationResponse:
        """Return the view of a registration. Only the owner sees the query of the URL, if decryption succeeds."""
        is_owner = view.registration.owner == principal.owner
        url = HeaderCipher(self.keyring).url(view.registration) if is_owner else None
        return views.registration(view, self.clock(), url if isinstance(url, str) else None)

    def _newest_secret(self, owner: str, origin: str) -> str:
        log(Event.SECRET_SHOWN, to=host_and_port(origin))
        return self.keyring.secrets_for(owner=owner, origin=origin)[0].reveal()


def _not_registered(
    result: Differs | Unreadable | TooManyWaiting | Taken | TooMany | TooManyRuns, address: str
) -> errors.Problem:
    """Return the answer to a refused registration. `address` is the public URL of the call."""
    match result:
        case Differs(ref=ref, fields=fields):
            return errors.registration_differs(ref.public_id, f"{address}/{ref.public_id}", fields)
        case Unreadable(ref=ref, undecrypted=undecrypted):
            return errors.secrets_unreadable(ref.public_id, f"{address}/{ref.public_id}", undecrypted)
        case TooManyWaiting(limit=limit):
            return errors.too_many_waiting(limit)
        case Taken():
            return errors.operation_taken("operationId")
        case TooMany(limit=limit, of_owner=of_owner):
            return errors.too_many_registrations(limit, of_owner=of_owner)
        case TooManyRuns(wait=wait):
            return errors.too_many_runs(wait)
        case _:
            assert_never(result)


def _ref(request: func.HttpRequest) -> RegistrationRef:
    ref = RegistrationRef.parse(request.route_params.get("id", ""))
    if ref is None:
        raise errors.not_found("registration")
    return ref


def health(request: func.HttpRequest, is_configured: bool) -> func.HttpResponse:
    """Show whether the app is alive.

    The answer needs no storage and never waits. A status of 503 means that settings are missing or wrong.
    """
    try:
        refuse_parameters(request)
    except errors.Problem as problem:
        return problem.response()
    if is_configured:
        return uncached(HealthResponse(status="ok", version=__version__))
    body = HealthResponse(status="misconfigured", version=__version__)
    return uncached(body, status=HTTPStatus.SERVICE_UNAVAILABLE)
