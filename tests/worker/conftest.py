"""The app in Microsoft's worker and the same app on the local host, each on separate storage."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.settings import REPOSITORY
from local.upstream import Upstream
from tests.support.harness import SIGNING_KEY
from tests.worker.azure_worker import AzureWorker

#: Stops the local host's timer, so the test decides when to sweep.
NEVER = "0 0 0 1 1 *"


@pytest.fixture
def settings(upstream: Upstream) -> dict[str, str]:
    """Return the settings of the app, without storage."""
    return {
        "PATH": "/usr/bin:/bin",
        "SPEECH_ENDPOINT": upstream.endpoint,
        "SPEECH_KEY": upstream.key,
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
        "BRIDGE_POLL_SCHEDULE": NEVER,
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "PYTHON_THREADPOOL_THREAD_COUNT": "16",
    }


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Yield a fake Speech endpoint."""
    with Upstream.start(key="worker") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver of callbacks."""
    with Receiver.start() as running:
        yield running


@pytest.fixture
def storage() -> Iterator[Azurite]:
    """Start an empty storage. The one of the session has the rows of other tests."""
    with Azurite.start() as running:
        yield running


@pytest.fixture
def storages() -> Iterator[tuple[Azurite, Azurite]]:
    """Start two empty storages, one per side."""
    with Azurite.start() as one, Azurite.start() as other:
        yield one, other


@pytest.fixture
def work(settings: Mapping[str, str]) -> Iterator[Callable[..., AzureWorker]]:
    """Yield a function that starts Microsoft's worker with the app and additional settings."""
    with ExitStack() as running:
        yield lambda **own: running.enter_context(AzureWorker(REPOSITORY, {**settings, **own}))


@pytest.fixture
def host(settings: Mapping[str, str]) -> Iterator[Callable[..., HostProcess]]:
    """Yield a function that starts the local host with the app and additional settings."""
    with ExitStack() as running:
        yield lambda **own: running.enter_context(HostProcess.start({**settings, **own}, on_line=print))
