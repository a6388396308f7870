"""The composition root: settings become clients, clients become use cases.

Bad settings do not stop the app from being indexed: on a function host an import that fails means an app without
functions and without a message. Every route but health then says what is wrong, and the triggers do nothing.
"""

import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import azure.functions as func
from azure.identity import get_bearer_token_provider

from bridge.adapters.clients import credential, queue_client, table_client
from bridge.adapters.courier import HttpCourier
from bridge.adapters.egress import Guard
from bridge.adapters.queue import DELIVERIES_QUEUE, AzureOutbox
from bridge.adapters.speech import SPEECH_SCOPE, Authorisation, SpeechService
from bridge.adapters.tables import AzureTable
from bridge.api.body import Terms
from bridge.api.problems import Problem, internal, misconfigured, unavailable, unreadable
from bridge.api.routes import Routes
from bridge.core.errors import Contended, ForeignRow, Misconfigured, StorageUnavailable
from bridge.core.sealing import NONCE_BYTES, HeaderSeal
from bridge.core.times import Clock, whole_millis
from bridge.core.wire import read_call
from bridge.deliver import Deliver
from bridge.hosts import Hosts
from bridge.log import Event, log
from bridge.ports import Courier, Outbox, Table, Upstream
from bridge.register import Register
from bridge.settings import Settings, read_settings
from bridge.show import Show
from bridge.sweep import Sweep
from bridge.sweeping.moving import Mover
from bridge.sweeping.polls import Polls
from bridge.sweeping.purges import Purges
from bridge.sweeping.questions import Questions

#: One of the routes.
Route = Callable[[Routes, func.HttpRequest], func.HttpResponse]

#: Threads that read for lists and the status; they never wait for the upstream.
_READERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside of the bridge. Tests make one of their own."""

    table: Table
    outbox: Outbox
    upstream: Upstream
    courier: Courier
    clock: Clock
    #: Makes a random text that no other call makes.
    token: Callable[[], str]
    #: Makes NONCE_BYTES random bytes.
    nonce: Callable[[], bytes]
    #: A number in [0, 1) that spreads retries.
    chance: Callable[[], float]
    #: Waits, in seconds.
    pause: Callable[[float], None]
    #: Runs the parts of a sweep.
    executor: Executor
    #: Runs the reads of lists and the status.
    readers: Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The use cases, ready to be called."""

    routes: Routes
    sweep: Sweep
    deliver: Deliver


def compose(settings: Settings, world: World) -> Bridge:
    """Put the use cases together."""
    sources = {source.name: source for source in settings.sources}
    register = Register(
        table=world.table,
        outbox=world.outbox,
        clock=world.clock,
        token=world.token,
        sources=sources,
        retention=settings.retention,
        seal=HeaderSeal(settings.keyring),
        nonce=world.nonce,
    )
    routes = Routes(
        use=register,
        show=Show(table=world.table, clock=world.clock, executor=world.readers),
        terms=Terms(rules=settings.callback_rules, sources=sources, objection=world.courier.objection),
        keyring=settings.keyring,
        clock=world.clock,
    )
    deliver = Deliver(
        table=world.table,
        courier=world.courier,
        seal=HeaderSeal(settings.keyring),
        hosts=Hosts(world.clock),
        clock=world.clock,
        token=world.token,
        chance=world.chance,
        pause=world.pause,
    )
    return Bridge(routes=routes, sweep=_compose_sweep(settings, world), deliver=deliver)


def _compose_sweep(settings: Settings, world: World) -> Sweep:
    mover = Mover(world.table, world.token)
    polls = Polls(
        table=world.table,
        outbox=world.outbox,
        questions=Questions(upstream=world.upstream, clock=world.clock),
        mover=mover,
        clock=world.clock,
        executor=world.executor,
        parallel=settings.sweep_threads,
        token=world.token,
        sources={source.name: source for source in settings.sources},
        policy=settings.polling,
        retention=settings.retention,
    )
    return Sweep(
        table=world.table,
        outbox=world.outbox,
        clock=world.clock,
        executor=world.executor,
        mover=mover,
        polls=polls,
        purges=Purges(table=world.table, mover=mover, clock=world.clock, retention=settings.retention),
        budget=settings.sweep_budget,
    )


def real_world(settings: Settings) -> World:
    """Make the clients. Asks nobody anything yet."""
    identity = credential(settings) if settings.storage_connection is None else None
    return World(
        table=AzureTable(table_client(settings, identity)),
        outbox=AzureOutbox(queue_client(settings, identity, DELIVERIES_QUEUE)),
        upstream=SpeechService(settings.sources, _authorisations(settings)),
        courier=HttpCourier(Guard(settings.callback_rules), real_clock),
        clock=real_clock,
        token=lambda: secrets.token_hex(8),
        nonce=lambda: secrets.token_bytes(NONCE_BYTES),
        chance=random.random,
        pause=time.sleep,
        executor=ThreadPoolExecutor(settings.sweep_threads, thread_name_prefix="sweep"),
        readers=ThreadPoolExecutor(_READERS, thread_name_prefix="read"),
    )


def real_clock() -> datetime:
    """Read the time."""
    return whole_millis(datetime.now(UTC))  # noqa: TID251 - here is where time comes from


def _authorisations(settings: Settings) -> Mapping[str, Authorisation]:
    """Prove who asks: by key where a source has one, otherwise by an Entra token, which the provider caches."""
    named = {source.name: settings.source_keys.get(source.name) for source in settings.sources}
    token = None if all(named.values()) else get_bearer_token_provider(credential(settings), SPEECH_SCOPE)

    def by_key(key: str) -> Authorisation:
        return lambda: {"Ocp-Apim-Subscription-Key": key}

    def by_token() -> Mapping[str, str]:
        return {"Authorization": f"Bearer {token() if token else ''}"}

    return {name: by_key(key.get_secret_value()) if key else by_token for name, key in named.items()}


class App:
    """What the triggers call: the bridge, or the reasons why there is none."""

    def __init__(self, bridge: Bridge | Misconfigured) -> None:
        self._bridge = bridge
        if isinstance(bridge, Misconfigured):
            log(Event.MISCONFIGURED, problems=bridge.lines)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "App":
        """Read the settings and put the bridge together. Never raises for what a setting holds."""
        logging.getLogger("azure").setLevel(logging.WARNING)  # its lines would show URLs,
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # and its warnings do
        try:
            settings = read_settings(environment)
            return cls(compose(settings, real_world(settings)))
        except Misconfigured as error:
            return cls(error)

    def answer(self, call: Route, request: func.HttpRequest, *, to_anybody: bool = False) -> func.HttpResponse:
        """Answer a request by one of the routes; whatever happens, in Azure's shape and without a stack trace.

        What is wrong with the settings is not said `to_anybody`.
        """
        if isinstance(self._bridge, Misconfigured):
            return misconfigured(None if to_anybody else self._bridge).response()
        try:
            return call(self._bridge.routes, request)
        except Problem as problem:
            return problem.response()
        except (StorageUnavailable, Contended) as error:
            log(Event.STORAGE, step="answer", error=str(error))
            return unavailable().response()
        except ForeignRow as error:
            log(Event.SET_ASIDE, why=str(error))
            return unreadable().response()
        except Exception as error:
            logging.getLogger("bridge").exception("a request failed: %s", type(error).__name__)
            return internal().response()

    def health(self) -> func.HttpResponse:
        """Say whether the app is alive or misconfigured, and nothing more: anybody may ask."""
        broken = isinstance(self._bridge, Misconfigured)
        return func.HttpResponse(
            json.dumps({"status": "misconfigured" if broken else "ok"}),
            status_code=503 if broken else 200,
            mimetype="application/json",
            headers={"Cache-Control": "no-store"},
        )

    def sweep(self) -> None:
        """Do what is due. A misconfigured app loses nothing, and says at each tick why it waits: alerts read that."""
        if isinstance(self._bridge, Misconfigured):
            log(Event.MISCONFIGURED, problems=self._bridge.lines)
        else:
            self._bridge.sweep.sweep()

    def deliver(self, body: bytes) -> None:
        """Follow a queue message. One that is none of ours is set aside; one that is lost has its due row."""
        if isinstance(self._bridge, Misconfigured):
            return
        try:
            call = read_call(body)
        except ForeignRow as error:
            log(Event.SET_ASIDE, why=str(error))
            return
        self._bridge.deliver.deliver(call)
