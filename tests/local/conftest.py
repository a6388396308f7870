"""Fixtures for the local tools: small function apps, and a host that runs them in this process."""

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.azurite import Azurite
from local.host.host import Host
from local.record import MAX_WAIT, Record
from local.upstream import Upstream
from tests.local.fake_speech import KEY, Clock
from tests.local.started import APP, HEAD, Started, free_ports

_HEAD = """
import azure.functions as func
import probe

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
"""


@dataclass
class Probe:
    """Shared by an app and its test: the app's module `probe`."""

    #: Events of the app, in order.
    seen: Record[Any] = field(default_factory=Record)
    #: Set by the test to let the app continue.
    go: threading.Event = field(default_factory=threading.Event)
    #: Number of failures before the app succeeds.
    failures: int = 0
    #: Called by the app during an invocation.
    meanwhile: Callable[[], None] = lambda: None

    def wait(self) -> None:
        """Block the app until the test continues."""
        if not self.go.wait(MAX_WAIT):
            raise TimeoutError("the test never let go on")

    def fail(self) -> None:
        """Raise an error while failures remain."""
        if self.failures > 0:
            self.failures -= 1
            raise RuntimeError("the app failed")


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def upstream(clock: Clock) -> Iterator[Upstream]:
    """Serve a fake."""
    with Upstream.start(key=KEY, clock=clock) as upstream:
        yield upstream


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Share an object between the app and the test."""
    probe = Probe()
    monkeypatch.setitem(sys.modules, "probe", probe)
    return probe


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes an app. `queues` and `prefix` are for host.json."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "function_app", raising=False)

    def make(code: str, *, head: str = _HEAD, prefix: str = "api", **queues: object) -> Path:
        extensions = {"http": {"routePrefix": prefix}, "queues": queues}
        (tmp_path / "host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
        (tmp_path / "function_app.py").write_text(head + code)
        return tmp_path

    return make


@pytest.fixture
def run(make_app: Callable[..., Path], azurite: Azurite) -> Iterator[Callable[..., Host]]:
    """Return a function that writes an app, and runs the app until the end of the test."""
    with ExitStack() as stack:

        def run(
            code: str, *, keys: tuple[str, ...] = (), settings: dict[str, str] | None = None, **options: object
        ) -> Host:
            settings = {"AzureWebJobsStorage": azurite.connection_string, **(settings or {})}
            host = Host(make_app(code, **options), settings, keys=keys)
            stack.callback(host.stop, MAX_WAIT)
            return host

        yield run


@pytest.fixture
def environ(tmp_path: Path, make_app: Callable[..., Path]) -> dict[str, str]:
    """Return the environment of a start, with a separate folder, ports and app."""
    app = make_app(APP, head=HEAD)
    os.mkfifo(tmp_path / "pipe")
    return {
        "LOCAL_DIR": str(tmp_path / "state with späces"),
        "PORT": str(free_ports(6)),
        "APP_DIR": str(app),
        "PIPE": str(tmp_path / "pipe"),
    }


@pytest.fixture
def begin(environ: dict[str, str]) -> Iterator[Callable[..., Started]]:
    """Return a function that begins a local start, with additional settings.

    `how` is the command of `python -m local`: `host` starts Microsoft's host.
    """
    begun: list[Started] = []

    def begin(how: str = "start", **own: str) -> Started:
        begun.append(Started({**environ, **own}, how))
        return begun[-1]

    yield begin
    for each in begun:
        each.clean_up()


def has_ended(pid: int, timeout: float = MAX_WAIT) -> bool:
    """Wait until a process ends, which need not be a child of this one. Linux only."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended, _, _ = select.select([watched], [], [], timeout)
    os.close(watched)
    return bool(ended)
