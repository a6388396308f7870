"""Schemathesis tests the description on the started app: examples, edge cases, random data, and sequences by links."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Upstream
from tests.support.description import calls
from tests.support.harness import SIGNING_KEY

HERE = Path(__file__).parent
KEY = "the-key"

#: The least number of links to follow. Which ones a run follows is drawn: 7 to 16 were seen.
LINKS = 4


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Start the app with a key, on separate empty storage. Callbacks may go to this machine only."""
    with ExitStack() as running:
        storage = running.enter_context(Azurite.start())
        upstream = running.enter_context(Upstream.start(key="schemathesis"))
        receiver = running.enter_context(Receiver.start())
        settings = {
            "PATH": os.environ["PATH"],
            "AzureWebJobsStorage": storage.connection_string,
            "SPEECH_ENDPOINT": upstream.endpoint,
            "SPEECH_KEY": upstream.key,
            "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
            "BRIDGE_POLL_SCHEDULE": "0 0 0 1 1 *",
            "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
            "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "BRIDGE_CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
            "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
            "PYTHON_THREADPOOL_THREAD_COUNT": "16",
        }
        host = running.enter_context(HostProcess.start(settings, keys=[KEY]))
        yield {
            "URL": f"{host.url}/api/openapi.json",
            "SCHEMATHESIS_KEY": KEY,
            "SPEECH_ENDPOINT": upstream.endpoint,
            "CALLBACK_URL": f"{receiver.url}/hook",
            "OPERATION_ID": "operation-1",
        }


def schemathesis(environment: dict[str, str], *options: str) -> str:
    """Run schemathesis and return the output."""
    config = str(HERE / "schemathesis.toml")
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", environment["URL"], *options],
        cwd=HERE.parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_app_answers_any_request_as_described(environment: dict[str, str]) -> None:
    """Input is right and wrong by the schemas. Every call is tested, and no call works without a key."""
    output = schemathesis(environment, "--phases", "examples,coverage,fuzzing", "--max-examples", "4")

    assert f"Tested: {len(calls()) - 1}" in output, output  # all but the call that reads the description


def test_app_accepts_described_requests_in_any_order(environment: dict[str, str]) -> None:
    """Sequences of registering, reading, listing and canceling follow the links.

    Input within schema and settings is accepted.
    """
    options = ["--phases", "stateful", "--mode", "positive", "--max-examples", "250", "--checks", "all"]
    left_out = "unsupported_method,allow_header_conformance,use_after_free,object_level_authorization"
    filled_in = {**environment, "SCHEMATHESIS_HOOKS": "tests.description.fill_in"}

    output = schemathesis(filled_in, *options, "--exclude-checks", left_out)

    covered = re.search(r"API Links: +(\d+) covered", output)
    assert covered is not None, output
    assert int(covered[1]) >= LINKS, output
