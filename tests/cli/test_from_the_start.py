"""The journey of a new user: `make start`, then the command line alone, up to a verified callback."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bridge.cli.context import EXAMPLES, PROGRAM
from local.record import MAX_WAIT
from local.settings import REPOSITORY
from tests.local.started import Started, free_ports


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    """Start like `make start`, with short operations."""
    started = Started(
        {
            "LOCAL_DIR": str(tmp_path / "state"),
            "PORT": str(free_ports(6)),
            "FAKE_SPEECH_DURATIONS": "1",
            "BRIDGE_POLL_SCHEDULE": "* * * * * *",
            "BRIDGE_POLL_INTERVAL": "1s",
        }
    )
    started.until("Ctrl-C stops everything.")
    yield started
    started.clean_up()


def bridge(start: Started, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *arguments],
        cwd=REPOSITORY,
        env={
            "PATH": os.environ["PATH"],
            "BRIDGE_URL": f"http://127.0.0.1:{start.settings.port}",
            "BROWSER": "true %s",  # opens anything, shows nothing
        },
        capture_output=True,
        text=True,
        timeout=MAX_WAIT,
        check=False,
    )


def test_from_the_start_to_a_verified_callback(start: Started) -> None:
    """Register and wait, run the waiting command, verify the callback, and find no problem."""
    receiver = f"http://127.0.0.1:{start.settings.receiver_port}"
    url = f"{receiver}/callback"
    arguments = ("--operation-id", "my-first-operation", "--callback-url", url, "--metadata", '{"video": "intro"}')

    waited = bridge(start, "register", *arguments, "--wait", "--", "sh", "-c", "echo $BRIDGE_OPERATION_STATUS")
    verified = bridge(start, "verify", f"{receiver}/callbacks", "--callback-url", url, "--json")
    doctor = bridge(start, "doctor")
    listed = bridge(start, "list", "--state", "delivered")

    assert (waited.returncode, waited.stderr) == (0, "")
    assert waited.stdout.splitlines()[-1] == "Succeeded"
    assert "  delivered  Succeeded; attempt 1: HTTP 204 at " in waited.stdout
    assert "\x1b" not in waited.stdout
    assert verified.returncode == 0, verified.stdout
    results = {each["name"]: each["result"] for each in json.loads(verified.stdout)["checks"]}
    assert results == dict.fromkeys(("headers", "timestamp", "v1", "v1a", "audience", "subscriber"), "good")
    assert doctor.returncode == 0, doctor.stdout
    assert "BAD" not in doctor.stdout
    assert listed.stdout.split("\t")[1:3] == ["delivered", "Succeeded"]


def test_no_command_or_line_of_a_start_shows_the_query_of_a_callback_url(start: Started, tmp_path: Path) -> None:
    """The URL comes from a file, so no list of processes shows the query. The callback still arrives."""
    receiver = f"http://127.0.0.1:{start.settings.receiver_port}"
    (tmp_path / "url").write_text(f"{receiver}/callback?code=canary\n")
    ping = bridge(start, "ping", f"@{tmp_path / 'url'}")
    arguments = ("register", "--operation-id", "with-a-secret", "--callback-url", f"@{tmp_path / 'url'}")

    said = [
        ping,
        bridge(start, *arguments, "--wait"),
        bridge(start, *arguments, "--json"),
        bridge(start, "list"),
        bridge(start, "show", "with-a-secret", "--json"),
        bridge(start, "status"),
        bridge(start, "doctor"),
    ]

    came = requests.get(f"{receiver}/callbacks", timeout=30).json()
    assert [each.returncode for each in said] == [0] * len(said)
    assert {each["path"] for each in came} == {"/callback?code=canary"}
    assert f"{receiver}/callback?…" in said[2].stdout
    assert not [each for each in said if "canary" in each.stdout + each.stderr]
    assert not [line for line in start.lines.entries if "canary" in line]


def test_the_command_that_the_start_prints_can_be_typed(start: Started) -> None:
    """In a clone, without an installed command: the command registers and waits for the end."""
    _, _, printed = "\n".join(start.lines.entries).partition("or by the command line, which waits for its end:")
    typed, _, _ = printed.partition("Ctrl-C")

    done = subprocess.run(
        ["/bin/sh", "-c", typed],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "-m bridge.cli register --wait" in typed
    assert (done.returncode, done.stderr) == (0, "")
    assert "my-second-operation" in done.stdout.splitlines()[-1]
    assert "  delivered  Succeeded; attempt 1: HTTP 204 at " in done.stdout


def test_a_failed_operation_fails_the_command_and_runs_nothing(start: Started) -> None:
    """The callback is still delivered."""
    url = f"http://127.0.0.1:{start.settings.receiver_port}/callback"

    waited = bridge(
        start, "register", "--operation-id", "to-fail", "--callback-url", url, "--wait", "--", "echo", "ran"
    )

    assert waited.returncode == 1
    assert "  delivered  Failed; attempt 1: HTTP 204 at " in waited.stdout
    assert "ran" not in waited.stdout.splitlines()


def test_every_example_of_a_help_text_works(start: Started) -> None:
    """Each example is copied from `--help`. Only port, id and program name are replaced."""
    name = ""

    for command in EXAMPLES:
        _, _, shown = bridge(start, *command.split(), "--help").stdout.partition("Examples:\n")
        lines = [line.strip().removeprefix(f"{PROGRAM} ") for line in shown.splitlines() if line.strip()]
        assert lines == list(EXAMPLES[command])
        for line in lines:
            typed = line.replace("ID", name).replace(":7072/", f":{start.settings.receiver_port}/")
            done = bridge(start, *shlex.split(typed))
            assert (done.returncode, done.stderr) == (0, ""), line
            name = name or done.stdout.split()[0]
