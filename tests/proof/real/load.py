"""Post many registrations a minute while the app sweeps and delivers. Measure each latency and check that all arrive.

The load is open: each registration is due at a fixed time, independent of earlier ones. Latency counts from that time,
so a stalled app cannot hide the stall. A registration that got 503 is sent again after the others, like clients do, and
counted: how many registrations a machine answers depends on the machine.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import quantiles

import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Upstream
from tests.proof.real.app import environment
from tests.proof.real.clients import Request, breathe, register_all, wait_until_finished

_CLIENTS = 32
#: The bridge has at most 4 attempts in flight per host, so a single receiver would be the bottleneck.
_RECEIVERS = 4
_TIMEOUT = 60.0
_CREATED = 201


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The rate and the length of the load."""

    per_minute: int
    minutes: float
    #: Greatest number of seconds from the last registration to the last callback.
    max_wait: float

    @property
    def count(self) -> int:
        """The number of registrations."""
        return round(self.per_minute * self.minutes)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to one registration."""

    #: The status, or 0 without an answer.
    status: int
    #: Seconds from the due time to the answer.
    took: float
    #: The time of the answer, on the monotonic clock.
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The result of the load."""

    failures: Sequence[str]
    #: Registrations that were answered 503, and sent again.
    refused: int
    #: Answered registrations per minute.
    per_minute: float
    #: Seconds from the due time to the answer: percentiles, ascending.
    percentiles: Sequence[float]
    #: Seconds from the last answer to the last callback.
    until_all_arrived: float

    def __str__(self) -> str:
        p50, p95, p99 = (f"{self.percentiles[percent - 1] * 1000:.0f}" for percent in (50, 95, 99))
        return (
            f"{self.per_minute:.0f} a minute, answered in {p50} ms (p50), {p95} ms (p95), {p99} ms (p99); "
            f"{self.refused} were answered 503 and sent again; "
            f"the last callback came {self.until_all_arrived:.0f} s after the last answer"
        )


def run(load: Load) -> Measured:
    """Run the load on a started app, wait for all callbacks, and check."""
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        upstream = running.enter_context(Upstream.start())
        receivers = [running.enter_context(Receiver.start()) for _ in range(_RECEIVERS)]
        settings = environment(azurite, upstream, BRIDGE_POLL_SCHEDULE="*/10 * * * * *", BRIDGE_POLL_INTERVAL="15s")
        app = running.enter_context(HostProcess.start(settings))
        requests_made = [
            Request(f"operation-{number:05d}", f"{receivers[number % _RECEIVERS].url}/{number}")
            for number in range(load.count)
        ]
        began = time.monotonic()
        answered = _register_all(f"{app.url}/api", requests_made, began, 60 / load.per_minute)
        refused = [request for request, each in zip(requests_made, answered, strict=True) if each.status != _CREATED]
        never = [problem for problem in register_all(lambda: f"{app.url}/api", refused, _CLIENTS) if problem]
        wait_until_finished(f"{app.url}/api", load.max_wait)
        came = {
            f"{receiver.url}{callback.path}": callback.at for receiver in receivers for callback in receiver.callbacks
        }
    last = max(each.at for each in answered)
    return Measured(
        failures=[
            *never,
            *(f"{each.callback_url} was lost" for each in requests_made if each.callback_url not in came),
        ],
        refused=len(refused),
        per_minute=len(answered) / (last - began) * 60,
        percentiles=quantiles((each.took for each in answered), n=100),
        until_all_arrived=max(came.values(), default=last) - last,
    )


def _register_all(url: str, requests_made: Sequence[Request], began: float, apart: float) -> list[Answered]:
    """Post each registration at the due time. A late client delays no other."""
    own = threading.local()

    def register(number: int) -> Answered:
        due = began + number * apart
        breathe(max(0.0, due - time.monotonic()))
        if not hasattr(own, "session"):
            own.session = requests.Session()
        try:
            status = own.session.post(
                f"{url}/registrations", json=requests_made[number].body, timeout=_TIMEOUT
            ).status_code
        except requests.RequestException:
            status = 0
        now = time.monotonic()
        return Answered(status, now - due, now)

    with ThreadPoolExecutor(_CLIENTS) as pool:
        return list(pool.map(register, range(len(requests_made))))
