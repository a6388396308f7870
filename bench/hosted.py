"""The started app in Microsoft's function host: its speed, and the worker's processor time and memory.

Load generator, receiver, fake Speech service and Azurite run beside the host on the same cores. Without
`functions-host` on PATH nothing is measured.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from bench.measuring import Figures, Scale
from bench.started import environment, post, register_all, terminal_to_post
from local.azurite import Azurite
from local.host.microsoft import LOCAL_KEY, MicrosoftHost
from local.receiver import Receiver
from local.upstream import Rules, Upstream
from local.upstream.lives import Durations

_MEGABYTE = 1024 * 1024
_MAX_WAIT = 300.0
_NEVER, _EACH_SECOND = "0 0 0 1 1 *", "* * * * * *"


def measure(scale: Scale) -> Figures:
    """Register many, let all of them be polled and delivered, and wait for a few one after the other."""
    if shutil.which("functions-host") is None:
        return {}
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        upstream = running.enter_context(Upstream.start(rules=Rules(durations=Durations.parse("0.1"))))
        receiver = running.enter_context(Receiver.start())
        count = scale.registrations
        with _hosted(azurite, upstream, _NEVER) as host:
            worker = _worker(host)
            used = _processor_time(worker)
            _, seconds = register_all(partial(post, _url(host), receiver.url), count)
            registering = _processor_time(worker) - used
            memory = [worker.memory_info().rss]
        with _hosted(azurite, upstream, _EACH_SECOND) as host:
            worker = _worker(host)
            used = _processor_time(worker)
            came = receiver.wait_for(count, _MAX_WAIT)
            delivering = _processor_time(worker) - used
            memory.append(worker.memory_info().rss)
            first, last = came[count // 10].at, came[count * 9 // 10 - 1].at
    return {
        "host.register.per_second": count / seconds,
        "host.deliveries_per_second": (count * 9 // 10 - 1 - count // 10) / (last - first),
        "host.worker.cpu_ms_per_life": (registering + delivering) / count * 1000,
        "host.worker.memory_mb": max(memory) / _MEGABYTE,
        "host.terminal_to_post.seconds": median(_delays(scale.callbacks)),
    }


def _delays(count: int) -> list[float]:
    with (
        Azurite.start() as azurite,
        Upstream.start(rules=Rules(durations=Durations.parse("2"))) as upstream,
        Receiver.start() as receiver,
        _hosted(azurite, upstream, _EACH_SECOND) as host,
    ):
        return list(terminal_to_post(_url(host), upstream, receiver, count))


def _url(host: MicrosoftHost) -> str:
    return f"{host.url}/api/registrations?code={LOCAL_KEY}"


@contextmanager
def _hosted(azurite: Azurite, upstream: Upstream, schedule: str) -> Iterator[MicrosoftHost]:
    settings = environment(
        azurite, SPEECH_ENDPOINT=upstream.endpoint, SPEECH_KEY=upstream.key, BRIDGE_POLL_SCHEDULE=schedule
    )
    with (
        tempfile.TemporaryDirectory() as state,
        MicrosoftHost.start(settings, state=Path(state), keys=[LOCAL_KEY]) as host,
    ):
        yield host


def _worker(host: MicrosoftHost) -> psutil.Process:
    """Find the process that runs the app: the one below the host."""
    below = psutil.Process(host.pid).children(recursive=True)
    return next(each for each in below if any(part.endswith("worker.py") for part in each.cmdline()))


def _processor_time(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)
