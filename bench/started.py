"""The started app over Azurite: how soon a callback is posted, and how fast registrations are answered."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median, quantiles

import requests

from bench.composed import SIGNING_KEY, composed
from bench.measuring import Figures, Scale
from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Rules, Upstream
from local.upstream.lives import Durations

_CLIENTS = 16
_TIMEOUT = 60.0
_MAX_WAIT = 120.0


@contextmanager
def started(schedule: str = "* * * * * *") -> Iterator[tuple[HostProcess, Upstream, Receiver]]:
    """Start everything."""
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        upstream = running.enter_context(Upstream.start(rules=Rules(durations=Durations.parse("2"))))
        receiver = running.enter_context(Receiver.start())
        app = HostProcess.start(
            environment(
                azurite, SPEECH_ENDPOINT=upstream.endpoint, SPEECH_KEY=upstream.key, BRIDGE_POLL_SCHEDULE=schedule
            )
        )
        running.enter_context(app)
        yield app, upstream, receiver


def environment(azurite: Azurite, **more: str) -> dict[str, str]:
    """Name everything that the app is told."""
    return {
        "PATH": "/usr/bin:/bin",
        "AzureWebJobsStorage": azurite.connection_string,
        "SPEECH_ENDPOINT": "http://127.0.0.1:9",
        "SPEECH_KEY": "benchmark",
        "SPEECH_REQUESTS_PER_SECOND": "100",
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        **more,
    }


def measure(scale: Scale) -> Figures:
    """Measure both, one after the other, and registering over the table in memory beside it."""
    with started() as (app, upstream, receiver):
        delays = terminal_to_post(f"{app.url}/api/registrations", upstream, receiver, scale.callbacks)
    with started("0 0 0 1 1 *") as (app, _, receiver):  # it does not sweep while registrations are timed
        register = partial(post, f"{app.url}/api/registrations", receiver.url)
        over_azurite, seconds = register_all(register, scale.registrations)
    bridge = composed()
    in_memory, seconds_in_memory = register_all(
        lambda _, number: bridge.register(f"operation-{number:06d}"), scale.registrations
    )
    return {
        "terminal_to_post.seconds": median(delays),
        "terminal_to_post.longest": max(delays),
        "register.p50_ms": median(over_azurite) * 1000,
        "register.p99_ms": quantiles(over_azurite, n=100)[98] * 1000,
        "register.per_second": scale.registrations / seconds,
        "register.memory.p99_ms": quantiles(in_memory, n=100)[98] * 1000,
        "register.memory.per_second": scale.registrations / seconds_in_memory,
    }


def terminal_to_post(url: str, upstream: Upstream, receiver: Receiver, count: int) -> Sequence[float]:
    """Register one after the other, each when the one before was told; from the poll that saw the end to the POST."""
    with requests.Session() as session:
        delays = []
        for number in range(count):
            post(url, receiver.url, session, number)
            told = receiver.wait_for(number + 1, _MAX_WAIT)[-1]
            seen = [each.at for each in upstream.requests if each.operation_id == f"operation-{number:06d}"]
            delays.append(told.at - max(at for at in seen if at <= told.at))
    return delays


def post(url: str, receiver: str, session: requests.Session, number: int) -> None:
    """Register a callback to a path of the receiver's own."""
    request = {"operationId": f"operation-{number:06d}", "callbackUrl": f"{receiver}/{number}"}
    session.post(url, json=request, timeout=_TIMEOUT).raise_for_status()


def register_all(register: Callable[[requests.Session, int], None], count: int) -> tuple[Sequence[float], float]:
    """Register with several clients at once; how long each took, and all of them together."""
    own = threading.local()

    def timed(number: int) -> float:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        began = time.perf_counter()
        register(own.session, number)
        return time.perf_counter() - began

    with ThreadPoolExecutor(_CLIENTS) as pool:
        began = time.perf_counter()
        took = list(pool.map(timed, range(count)))
        return took, time.perf_counter() - began
