"""The started app learns how long operations take: on real storage, over HTTP, in real seconds."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Durations, Upstream
from tests.support.world import SIGNING_KEY

ROOT = Path(__file__).parent.parent
OPERATIONS = 300

#: The seconds that half of each kind exceed, and how many of all are of the second kind. They are two and a half
#: octaves apart, so that the humps are seen by a machine, too, whose sweeps take seconds because it has other work.
SHORT, LONG, SHARE = 4, 24, 0.4


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Stand in for the Speech endpoint: 60% take about 4 s, the others about 24 s."""
    durations = Durations.parse(f"bimodal:{SHORT},{LONG},{SHARE}")
    with Upstream.start(key="humps", durations=durations) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Receive callbacks."""
    with Receiver.start() as running:
        yield running


@pytest.fixture
def app(azurite: Azurite, upstream: Upstream) -> Iterator[HostProcess]:
    """Start the app as `make start` does, with a sweep a second."""
    environment: Mapping[str, str] = {
        "PATH": "/usr/bin:/bin",
        "AzureWebJobsStorage": azurite.connection_string,
        "SPEECH_ENDPOINT": upstream.endpoint,
        "SPEECH_KEY": upstream.key,
        "SPEECH_REQUESTS_PER_SECOND": "100",
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
        "BRIDGE_POLL_SCHEDULE": "* * * * * *",
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "PYTHON_THREADPOOL_THREAD_COUNT": "16",
    }
    with HostProcess.start(environment, app=ROOT, port=0, on_line=lambda _: None) as running:
        yield running


def test_the_law_of_three_hundred_operations_shows_their_two_humps(app: HostProcess, receiver: Receiver) -> None:
    """Six in ten end early and four late, and between them is a valley not half as high as either."""

    def register(number: int) -> int:
        body = {"operationId": f"operation-{number:03d}", "callbackUrl": f"{receiver.url}/{number}"}
        return requests.post(f"{app.url}/api/registrations", json=body, timeout=60).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(register, range(OPERATIONS))) == {201}
    app.lines.wait_for(lambda lines: sum("operation.finished" in line for line in lines) >= OPERATIONS, timeout=240)

    shares = [float(each["share"]) for each in learnt_of(app)["shares"]]

    assert any(is_valley(shares, place) for place in range(1, len(shares) - 1)), shares


@pytest.mark.parametrize(
    ("shares", "humps"),
    [
        ([0.1, 0.5, 0.02, 0.3, 0.08], 2),
        ([0.1, 0.5, 0.2, 0.3, 0.08], 1),  # no valley
        ([0.1, 0.7, 0.02, 0.1, 0.08], 1),  # nothing much behind it
        ([0.05, 0.2, 0.5, 0.2, 0.05], 1),
    ],
)
def test_a_valley_can_be_told(shares: list[float], humps: int) -> None:
    """By its depth, and by what is on both sides."""
    assert any(is_valley(shares, place) for place in range(1, len(shares) - 1)) is (humps == 2)


def is_valley(shares: Sequence[float], place: int) -> bool:
    """Tell whether a bucket is not half as high as a hump before it and one after it that hold a quarter of all."""
    before, after = shares[:place], shares[place + 1 :]
    return shares[place] < min(max(before), max(after)) / 2 and min(sum(before), sum(after)) > 0.25


def learnt_of(app: HostProcess) -> Any:  # noqa: ANN401 - JSON
    """Read the durations from the status, once all that ended was written: that is after the sweep."""
    while True:
        [source] = requests.get(f"{app.url}/api/status", timeout=60).json()["sources"]
        if source["durations"]["completions"] > 0.8 * OPERATIONS:  # what is older weighs less: 274 of 300
            return source["durations"]
