"""The journey of a new user: `make start`, then the command line alone, up to a verified callback."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from standardwebhooks import Webhook

from bridge.cli.context import EXAMPLES, PROGRAM
from local.child import Child
from local.receiver import Receiver
from local.record import MAX_WAIT, Record
from local.settings import REPOSITORY
from tests.local.started import Started, free_ports

README = (REPOSITORY / "README.md").read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    """Start like `make start`, with short operations."""
    started = Started(
        {
            "LOCAL_DIR": str(tmp_path / "state"),
            "PORT": str(free_ports(6)),
            "FAKE_SPEECH_DURATIONS": "1",
            "FAKE_SPEECH_UNKNOWN": "succeed",
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

    output = [
        ping,
        bridge(start, *arguments, "--wait"),
        bridge(start, *arguments, "--json"),
        bridge(start, "list"),
        bridge(start, "show", "with-a-secret", "--json"),
        bridge(start, "status"),
        bridge(start, "doctor"),
    ]

    came = requests.get(f"{receiver}/callbacks", timeout=30).json()
    assert [each.returncode for each in output] == [0] * len(output)
    assert {each["path"] for each in came} == {"/callback?code=canary"}
    assert f"{receiver}/callback?…" in output[2].stdout
    assert not [each for each in output if "canary" in each.stdout + each.stderr]
    assert not [line for line in start.lines.entries if "canary" in line]


def test_the_commands_that_the_start_prints_can_be_typed(start: Started) -> None:
    """From a clone, where nothing is installed as a command: one submits a job, the others register its operation."""
    printed = "\n".join(start.lines.entries)
    submitting, _, registering = printed.partition("within a minute:\n")[2].partition("    curl -s http")
    waiting = registering.partition("or by the command line, which waits for its end:")[2].partition("Ctrl-C")[0]
    by_curl = "curl -s http" + registering.partition("\n\nor by")[0]

    done = subprocess.run(
        ["/bin/sh", "-ec", f"{submitting}\n{by_curl}\necho\n{waiting}"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "-m bridge.cli register --wait" in waiting
    assert (done.returncode, done.stderr) == (0, "")
    registered, *_, last = done.stdout.splitlines()
    assert json.loads(registered)["operation"]["id"] in last
    assert "  delivered  Succeeded; attempt 1: HTTP 204 at " in last
    start.until("204, signature verified")


def test_the_first_commands_of_the_readme_submit_a_job_and_register_its_operation(start: Started) -> None:
    """As they stand, but for the ports. The callback is verified."""
    [block] = [
        each for each in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if each.startswith("$ id=$(curl")
    ]
    typed = "\n".join(re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE))
    for offset in range(3):
        typed = typed.replace(f":{7071 + offset}/", f":{start.settings.port + offset}/")

    done = subprocess.run(["/bin/sh", "-ec", typed], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    operation_id = json.loads(done.stdout)["operation"]["id"]
    start.until(f"{operation_id} Speech returned Succeeded")
    start.until("answered 204, signature verified")
    start.until(f"{operation_id} delivered: attempt 1, HTTP 204")


def test_a_failed_operation_fails_the_command_and_runs_nothing(start: Started) -> None:
    """The callback is still delivered."""
    url = f"http://127.0.0.1:{start.settings.receiver_port}/callback"

    waited = bridge(
        start, "register", "--operation-id", "to-fail", "--callback-url", url, "--wait", "--", "echo", "ran"
    )

    assert waited.returncode == 1
    assert "  delivered  Failed; attempt 1: HTTP 204 at " in waited.stdout
    assert "ran" not in waited.stdout.splitlines()


#: Runs the command line with Ctrl-C, which a shell disables for commands in the background.
_INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("bridge.cli", run_name="__main__", alter_sys=True)
"""


@contextmanager
def listening(start: Started, *arguments: str) -> Iterator[Record[str]]:
    """Run `listen` until the end of the block, and press Ctrl-C. Yields the lines of its output."""
    lines: Record[str] = Record()
    child = Child(
        [sys.executable, "-c", _INTERRUPTIBLE, *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "BRIDGE_URL": f"http://127.0.0.1:{start.settings.port}"},
        on_line=lines.add,
    )
    try:
        lines.wait_for(1)
        yield lines
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(MAX_WAIT)
    finally:
        child.stop(MAX_WAIT)
    assert child.exit_code == 130
    assert not [line for line in lines.entries if "Traceback" in line]


def test_a_local_receiver_gets_a_copy_that_it_can_verify(start: Started) -> None:
    """The callback goes to its registered URL, and the copy to another receiver, with the same bytes."""
    registered = f"http://127.0.0.1:{start.settings.receiver_port}/callback"
    secret = bridge(start, "secret", registered).stdout.strip()

    with Receiver.start() as receiver:
        with listening(start, "listen", "--forward", f"{receiver.url}/hook") as lines:
            bridge(start, "register", "--operation-id", "to-copy", "--callback-url", registered, "--wait")
            [copy] = receiver.wait_for(1)
            verified = Webhook(secret).verify(copy.body, copy.headers)
            lines.wait_for(2)
        callbacks = requests.get(f"{registered}s", timeout=30).json()

    [callback] = callbacks
    assert verified == json.loads(callback["body"])
    assert copy.body.decode() == callback["body"]
    assert copy.headers["webhook-id"] == callback["headers"]["webhook-id"]
    assert lines.entries[0] == f"forwarding to {receiver.url}/hook; Ctrl-C ends"
    assert [line.split("  ")[-1] for line in lines.entries[1:]] == ["HTTP 204"]
    assert [callback["path"] for callback in callbacks] == ["/callback"]


def test_every_example_of_a_help_text_works(start: Started) -> None:
    """Each example is copied from `--help`. Only port, id and program name are replaced."""
    name = ""

    for command in EXAMPLES:
        _, _, shown = bridge(start, *command.split(), "--help").stdout.partition("Examples:\n")
        lines = [line.strip().removeprefix(f"{PROGRAM} ") for line in shown.splitlines() if line.strip()]
        assert lines == list(EXAMPLES[command])
        for line in lines:
            typed = line.replace("ID", name).replace(":7072/", f":{start.settings.receiver_port}/")
            if command == "listen":
                with listening(start, *shlex.split(typed)):
                    continue
            done = bridge(start, *shlex.split(typed))
            assert (done.returncode, done.stderr) == (0, ""), line
            name = name or done.stdout.split()[0]
