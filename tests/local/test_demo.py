"""`python -m local demo`, like `make demo`."""

import io
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.demo import demo
from local.demo.story import ACTS, problems, verified
from local.demo.timeline import Timeline
from local.errors import LocalError
from local.receiver import Callback
from local.settings import REPOSITORY

#: Settings that would break the demo without its own choices.
FOREIGN = {
    "PORT": "nonsense",
    "LOCAL_DIR": "/dev/null",
    "AzureWebJobsStorage": "nonsense",
    "SPEECH_ENDPOINT": "https://speech.invalid",
    "BRIDGE_SIGNING_KEYS": "short",
    "BRIDGE_CALLBACK_ALLOWED_HOSTS": "nobody.invalid",
}

INTRO, OUTTAKE, TRAILER = ACTS


def test_demo_shows_the_whole_job_in_a_pipe(tmp_path: Path) -> None:
    """The demo takes less than a minute on a loaded machine, prints plain lines, and leaves no process."""
    environ = {**os.environ, **FOREIGN, "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "local", "demo"],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("All three arrived, once each and with good signatures.")
    assert told(done.stdout, "intro")[-2:] == [
        "callback received, signature verified: avatar.operation.succeeded",
        "is delivered",
    ]
    assert "Speech returned Failed" in told(done.stdout, "outtake")
    trailer = told(done.stdout, "trailer")
    assert trailer.index("attempt 1 failed: connection refused") < trailer.index("is delivered")
    assert list(tmp_path.iterdir()) == []


def told(output: str, name: str) -> list[str]:
    """Return the lines about an operation, without values that differ between runs."""
    lines = re.findall(rf"^ *\d+\.\d s  {name} +(.*)$", output, re.MULTILINE)
    return [re.sub(r" msg_x[0-9a-f]+$", "", line) for line in lines]


def test_demo_that_takes_too_long_fails_with_the_reason() -> None:
    """The output includes the app's last lines."""
    seconds = itertools.count(0, 60)

    with pytest.raises(LocalError, match=r"(?s)the demo failed: after 50 s .*'waiting'.*function host listens"):
        demo(dict(os.environ), clock=lambda: float(next(seconds)))


class Terminal(io.StringIO):
    """A terminal that keeps the output."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize(
    ("out", "environ", "in_colour"),
    [(Terminal(), {}, True), (Terminal(), {"NO_COLOR": "1"}, False), (io.StringIO(), {}, False)],
)
def test_colours_are_for_terminals(out: io.StringIO, environ: dict[str, str], in_colour: bool) -> None:
    """An environment variable can enforce them."""
    moments = iter([7.0, 8.25])
    timeline = Timeline(out, lambda: next(moments), environ)

    timeline.begin()
    timeline.happens("intro", "is delivered", good=True)

    assert re.sub(r"\x1b\[\d+m", "", out.getvalue()) == "  1.2 s  intro    is delivered\n"
    assert ("\x1b[32mis delivered" in out.getvalue()) is in_colour


def shown(state: str = "delivered", attempts: tuple[int | str, ...] = (204,)) -> Mapping[str, Any]:
    """Return a registration in the API's format."""
    made = [
        {"status": each, "error": None} if isinstance(each, int) else {"status": None, "error": each}
        for each in attempts
    ]
    return {"state": state, "attempts": made}


EVENT = {"type": INTRO.event, "data": {"operationId": INTRO.operation_id, "metadata": {"name": "intro"}}}


@pytest.mark.parametrize(
    ("registration", "events", "expected"),
    [
        (shown(), [EVENT], ""),
        (shown("dead"), [EVENT], "intro is dead, not delivered"),
        (shown(attempts=(500, 204)), [EVENT], "intro had the attempts (500, 204), not (204,)"),
        (shown(), [], "intro had the callbacks []"),
        (shown(), [EVENT, EVENT], "intro had the callbacks [('avatar"),
        (shown(), [{**EVENT, "type": OUTTAKE.event}], "intro had the callbacks [('avatar.operation.failed'"),
    ],
)
def test_each_problem_is_named(registration: Mapping[str, Any], events: list[dict[str, Any]], expected: str) -> None:
    """Each problem appears once."""
    found = problems(INTRO, registration, events)

    assert len(found) == (1 if expected else 0)
    assert "".join(found).startswith(expected)


def test_callback_that_is_not_genuine_ends_it() -> None:
    """Verified callbacks are the purpose of the demo."""
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    forged = Callback(at=0, method="POST", path="/intro", headers=headers, body=b"{}", answered=204)

    with pytest.raises(LocalError, match="the callback to /intro cannot be verified"):
        verified(forged, "whsec_dGVzdCBrZXkgb2YgMzIgYnl0ZXMsIG5vIHNlY3JldCE=")


def test_one_of_each_kind_is_shown() -> None:
    """One operation succeeds, one fails, and one has a receiver that is down at first."""
    assert [act.receiver_is_late for act in ACTS] == [False, False, True]
    assert [act.life[-1][1] for act in ACTS] == ["Succeeded", "Failed", "Succeeded"]
    assert TRAILER.attempts == ("connect", 204)
