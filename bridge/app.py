"""The composition root: turns settings and dependencies into use cases, which the triggers call.

Invalid settings do not prevent the app from being indexed: a failed import would leave the host with an app without
functions and without a message. Instead, every route but health reports the problems, and the triggers do nothing.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

import azure.functions as func

from bridge.adapters.azure.storage_calls import request_deadline
from bridge.api.auth import Authenticator, BearerTokenAuth, FunctionKeyAuth, caller_of
from bridge.api.concurrency_limit import ConcurrencyLimit
from bridge.api.errors import Problem, contended, internal, misconfigured, refused_by_storage, unavailable, unreadable
from bridge.api.fields import ValidationContext
from bridge.api.handlers import Handlers
from bridge.api.http_response import RequestIds, compressed
from bridge.api.query import NoParameters, refuse_parameters
from bridge.api.routes import HEALTH, Handler, Route
from bridge.dependencies import Dependencies, build_dependencies, random_uuid, real_sleep
from bridge.domain.errors import Contended, Misconfigured, StorageRefused, StorageUnavailable, UnreadableRow
from bridge.domain.header_cipher import HeaderCipher
from bridge.domain.poll_schedule import ExponentialSchedule, PollPlan
from bridge.domain.principal import ANONYMOUS
from bridge.learnt.duration_store import DurationStore
from bridge.learnt.schedule import LearntSchedule
from bridge.log import Event, about_request, called_by, log, request_fields
from bridge.ports import StoredSchedule
from bridge.services.attempts import AttemptRecorder, Claims
from bridge.services.bulk_redelivery import Redeliver
from bridge.services.delivery import Deliver
from bridge.services.dispatch import Dispatcher
from bridge.services.host_limiter import HostLimiter
from bridge.services.owner_quota import WaitingCounter, WaitingLimit
from bridge.services.ping import Ping
from bridge.services.queries import Counts, Queries
from bridge.services.registrations import Register
from bridge.services.repair import Repair
from bridge.services.reports import Overview
from bridge.services.sweep.due_reader import Reader
from bridge.services.sweep.enqueueing import Enqueuer, MessageShares, Refill
from bridge.services.sweep.heartbeat import Heartbeat
from bridge.services.sweep.poller import Finisher, OperationFetcher, Poller
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.services.sweep.source_run import Sources
from bridge.services.sweep.sweep import Purges, Sweep
from bridge.settings import AUTH, Auth, Settings, read_settings
from bridge.storage.queue_message import read_task
from bridge.storage.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The use cases."""

    #: Authenticates callers.
    authenticator: Authenticator
    handlers: Handlers
    sweep: Sweep
    deliver: Deliver


def compose(settings: Settings, dependencies: Dependencies) -> Bridge:
    """Connect the use cases."""
    repository = Repository(
        table=dependencies.table,
        clock=dependencies.clock,
        new_id=dependencies.randomness.new_id,
        sleep=dependencies.sleep,
        random=dependencies.randomness.random,
    )
    sources = {source.name: source for source in settings.sources}
    dispatcher = Dispatcher(repository, dependencies.queue)
    register = Register(
        repository=repository,
        dispatcher=dispatcher,
        waiting=WaitingLimit(dependencies.table, dependencies.clock, settings.waiting_limit),
        clock=dependencies.clock,
        sources=sources,
        retention=settings.retention,
        cipher=HeaderCipher(settings.keyring),
        nonce=dependencies.randomness.nonce,
        telemetry=dependencies.telemetry,
        sharing=settings.sharing,
    )
    counts = Counts(dependencies.table, dependencies.clock, dependencies.pools.reads)
    schedule = _compose_schedule(settings, repository)
    queries = Queries(
        repository=repository,
        clock=dependencies.clock,
        executor=dependencies.pools.reads,
        counts=counts,
        schedule=schedule,
    )
    handlers = Handlers(
        registrations=register,
        bulk_redelivery=Redeliver(
            repository=repository,
            queries=queries,
            clock=dependencies.clock,
            executor=dependencies.pools.reads,
        ),
        pinger=Ping(
            repository=repository,
            sender=dependencies.network.sender,
            keyring=settings.keyring,
            clock=dependencies.clock,
        ),
        queries=queries,
        reports=Overview(
            repository=repository,
            clock=dependencies.clock,
            executor=dependencies.pools.reads,
            sources=list(sources),
            schedule=schedule,
        ),
        public_url=settings.public_url,
        by_token=settings.tenant is not None,
        description=_description,
        context=ValidationContext(
            rules=settings.callback_rules,
            sources=sources,
            check_destination=dependencies.network.sender.check_destination,
        ),
        keyring=settings.keyring,
        clock=dependencies.clock,
    )
    deliver = _compose_deliver(settings, dependencies, repository, dispatcher)
    tenant = settings.tenant
    authenticator = (
        FunctionKeyAuth()
        if tenant is None
        else BearerTokenAuth(tokens=dependencies.network.tokens(tenant), clock=dependencies.clock)
    )
    return Bridge(
        authenticator=authenticator,
        handlers=handlers,
        sweep=_compose_sweep(settings, dependencies, queries, dispatcher),
        deliver=deliver,
    )


def _description() -> str:
    from bridge.api.openapi import document  # a cold start does not wait for it

    return json.dumps(document())


def _compose_schedule(settings: Settings, repository: Repository) -> StoredSchedule:
    if settings.poll_plan is PollPlan.EXPONENTIAL:
        return ExponentialSchedule(settings.poll_interval)
    return LearntSchedule(
        durations=DurationStore(repository),
        polls_per_operation=settings.polls_per_operation,
        shortest=settings.poll_interval,
    )


def _compose_deliver(
    settings: Settings, dependencies: Dependencies, repository: Repository, dispatcher: Dispatcher
) -> Deliver:
    recorder = AttemptRecorder(repository=repository, clock=dependencies.clock, random=dependencies.randomness.random)
    rescheduler = Rescheduler(repository)
    enqueuer = Enqueuer(
        dispatcher=dispatcher, rescheduler=rescheduler, clock=dependencies.clock, executor=dependencies.pools.sends
    )
    return Deliver(
        repository=repository,
        dispatcher=dispatcher,
        sender=dependencies.network.sender,
        cipher=HeaderCipher(settings.keyring),
        hosts=HostLimiter(
            dependencies.clock, random=dependencies.randomness.random, by_owner=settings.tenant is not None
        ),
        clock=dependencies.clock,
        claims=Claims(repository=repository, clock=dependencies.clock, recorder=recorder),
        recorder=recorder,
        sleep=dependencies.sleep,
        refill=Refill(
            Reader(
                table=dependencies.table,
                executor=dependencies.pools.sends,
                clock=dependencies.clock,
                rescheduler=rescheduler,
            ),
            enqueuer,
        ),
        telemetry=dependencies.telemetry,
    )


def _compose_sweep(settings: Settings, dependencies: Dependencies, queries: Queries, dispatcher: Dispatcher) -> Sweep:
    repository = queries.repository
    rescheduler = Rescheduler(repository)
    reader = Reader(
        table=dependencies.table, executor=dependencies.pools.sweep, clock=dependencies.clock, rescheduler=rescheduler
    )
    shares = MessageShares()
    sources = Sources(
        by_name={source.name: source for source in settings.sources},
        schedule=queries.schedule,
        repository=repository,
        telemetry=dependencies.telemetry,
    )
    poller = Poller(
        fetcher=OperationFetcher(upstream=dependencies.network.upstream, clock=dependencies.clock),
        finisher=Finisher(
            sources=sources,
            dispatcher=dispatcher,
            rescheduler=rescheduler,
            shares=shares,
            retention=settings.retention,
        ),
        rescheduler=rescheduler,
        sources=sources,
        clock=dependencies.clock,
        executor=dependencies.pools.sweep,
        parallel=settings.sweep_threads,
        telemetry=dependencies.telemetry,
        deadline=settings.operation_deadline,
    )
    return Sweep(
        repository=repository,
        dispatcher=dispatcher,
        clock=dependencies.clock,
        enqueuer=Enqueuer(
            dispatcher=dispatcher, rescheduler=rescheduler, clock=dependencies.clock, executor=dependencies.pools.sweep
        ),
        shares=shares,
        meanwhile=Enqueuer(
            dispatcher=dispatcher, rescheduler=rescheduler, clock=dependencies.clock, executor=dependencies.pools.sends
        ),
        reader=reader,
        heartbeat=Heartbeat(
            repository=repository,
            repair=Repair(repository),
            counter=WaitingCounter(
                dependencies.table, dependencies.pools.sweep, dependencies.clock, settings.waiting_limit
            ),
            waiting=queries.counts.waiting,
            telemetry=dependencies.telemetry,
        ),
        poller=poller,
        purges=Purges(
            repository=repository, rescheduler=rescheduler, clock=dependencies.clock, retention=settings.retention
        ),
        budget=settings.sweep_budget,
        telemetry=dependencies.telemetry,
    )


#: The time limit of all storage calls of one request in seconds, so that its answer comes within ten seconds.
REQUEST = 5.0

#: How long a misconfigured instance keeps a queue message before it returns the message, in seconds.
GIVE_BACK_AFTER = 2.0


def _storage_problem(error: StorageUnavailable | Contended) -> Problem:
    """Log the failure of storage, and return the answer for the client."""
    if isinstance(error, StorageRefused):
        log(Event.STORAGE_REFUSED, step="answer", code=error.code, error=str(error))
        return refused_by_storage(error)
    if isinstance(error, Contended):
        log(Event.CONTENDED, why=str(error))
        return contended()
    log(Event.STORAGE, step="answer", error=str(error))
    return unavailable()


class App:
    """The entry points for the triggers: the bridge, or the reasons why the settings are invalid."""

    def __init__(
        self,
        bridge: Bridge | Misconfigured,
        *,
        level: func.AuthLevel = func.AuthLevel.FUNCTION,
        sleep: Callable[[float], None] = real_sleep,
        new_request_id: Callable[[], str] = random_uuid,
    ) -> None:
        """Create the app. `level` applies to an app without a bridge, which reveals no settings on public routes."""
        self._bridge = bridge
        self._sleep = sleep
        self._new_request_id = new_request_id
        self._limit = ConcurrencyLimit()
        #: The platform's check of callers, for routes without a separate level.
        self.level = level if isinstance(bridge, Misconfigured) else bridge.authenticator.level
        if isinstance(bridge, Misconfigured):
            log(Event.MISCONFIGURED, problems=bridge.lines)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "App":
        """Read the settings and create the bridge. Never raises for an invalid setting."""
        logging.getLogger("azure").setLevel(logging.WARNING)  # its info lines would show URLs,
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # and so do its warnings
        try:
            settings = read_settings(environment)
            return cls(compose(settings, build_dependencies(settings)))
        except Misconfigured as error:
            by_token = environment.get(AUTH) == Auth.ENTRA
            return cls(error, level=func.AuthLevel.ANONYMOUS if by_token else func.AuthLevel.FUNCTION)

    def answer(self, route: Route[Handler], request: func.HttpRequest) -> func.HttpResponse:
        """Answer a request of a route, always in Azure's shape, with the ids of the request, without a stack trace.

        A route that needs neither key nor token does not name the settings that are wrong.
        """
        ids = RequestIds.of(request, self._new_request_id())
        with about_request(ids.fields):
            return ids.mark(compressed(self._answer(route, request), request))

    def _answer(self, route: Route[Handler], request: func.HttpRequest) -> func.HttpResponse:
        if isinstance(self._bridge, Misconfigured):
            is_open = route.is_open or self.level is func.AuthLevel.ANONYMOUS
            return misconfigured(None if is_open else self._bridge).response()
        try:
            with request_deadline(REQUEST):
                return self._handle(self._bridge, route, request)
        except Problem as problem:
            return problem.response()
        except (StorageUnavailable, Contended) as error:
            return _storage_problem(error).response()
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, why=str(error))
            return unreadable().response()
        except Exception as error:
            ids = " ".join(f"{name}={value}" for name, value in request_fields().items())
            logging.getLogger("bridge").exception("a request failed: %s, %s", type(error).__name__, ids)
            return internal().response()

    def _handle(self, bridge: Bridge, route: Route[Handler], request: func.HttpRequest) -> func.HttpResponse:
        """Authenticate the caller, then call the handler. Raises Problem."""
        address = caller_of(request)
        with called_by(address):
            principal = ANONYMOUS if route.is_open else bridge.authenticator.authenticate(request)
        limit = self._limit.slot() if route.reads_many_rows else nullcontext()
        with called_by(address, principal.object_id), limit:
            if route.parameters is NoParameters:
                refuse_parameters(request)
            return route.handler(bridge.handlers, request, principal)

    def health(self, request: func.HttpRequest) -> func.HttpResponse:
        """Answer whether the app is alive or misconfigured. Reads only memory, so it never waits."""
        ids = RequestIds.of(request, self._new_request_id())
        return ids.mark(HEALTH.handler(request, not isinstance(self._bridge, Misconfigured)))

    def sweep(self) -> None:
        """Run a sweep. A misconfigured app logs its problems at each tick instead, for alerts."""
        if isinstance(self._bridge, Misconfigured):
            log(Event.MISCONFIGURED, problems=self._bridge.lines)
        else:
            self._bridge.sweep.sweep()

    def deliver(self, body: bytes, *, message_id: str | None = None, inserted: datetime | None = None) -> None:
        """Follow a queue message. An unreadable one is skipped, with id and insertion time in the log.

        A lost message has its due row. A misconfigured app returns messages by raising Misconfigured: the host
        shows each again after the `visibilityTimeout` of host.json, to any instance. The app waits before that, so that
        a broken instance takes few messages from working ones.
        """
        if isinstance(self._bridge, Misconfigured):
            self._sleep(GIVE_BACK_AFTER)
            raise Misconfigured(self._bridge.problems)
        try:
            task = read_task(body)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, why=str(error), queue_message=message_id, inserted=inserted, length=len(body))
            return
        try:
            self._bridge.deliver.deliver(task)
        except StorageRefused as error:  # the message will come again
            log(Event.STORAGE_REFUSED, step="deliver", code=error.code, error=str(error))
            raise
