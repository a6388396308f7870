"""Watch registrations until they end, on a stopwatch that only advances by waits."""

import json
from dataclasses import dataclass, field

import pytest

from bridge.cli.following import SILENCE
from tests.support.cli import Said, Terminal, plain, type_in
from tests.support.fake_bridge import FakeBridge, attempt, delivered, problem, registration
from tests.support.harness import NOON

ID, OTHER = "default~operation-1~0123456789abcdef", "default~operation-2~fedcba9876543210"
SLOW = (503, problem("StorageUnavailable", "Storage does not answer."))


@dataclass
class Stopwatch:
    """Advances only by waits."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Return the seconds since the start."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Advance."""
        self.now += seconds
        self.waits.append(seconds)


def watch(fake: FakeBridge, *arguments: str, out: Terminal | None = None) -> tuple[Said, Stopwatch]:
    """Run the command without real waits."""
    stopwatch = Stopwatch()
    output = type_in(
        "watch", *arguments, environment=fake.environment, stopwatch=stopwatch, sleep=stopwatch.wait, out=out
    )
    return output, stopwatch


def test_each_change_is_one_line_in_a_pipe(fake: FakeBridge) -> None:
    """An unchanged state prints nothing."""
    retrying = registration(
        state="pending",
        attempts=[attempt(error="connect")],
        nextAttemptAt="2026-11-23T12:01:05.000Z",
        operation={"status": "Succeeded"},
    )
    shown = [registration(), registration(), retrying, retrying, delivered()]
    fake.script(f"GET registrations/{ID}", *((200, each) for each in shown))

    output, stopwatch = watch(fake, ID, "--interval", "3s")

    assert output.exit == 0
    assert output.out.splitlines() == [
        f"{ID}  waiting  the operation is Running",
        f"{ID}  pending  Succeeded; attempt 1: connect; next at 2026-11-23T12:01:05.000Z",
        f"{ID}  delivered  Succeeded; attempt 1: HTTP 204 at 2026-11-23T12:01:00.000Z",
    ]
    assert stopwatch.waits == [3.0] * 4


def test_several_registrations_are_watched_until_the_last_has_ended(fake: FakeBridge) -> None:
    """An ended registration is not requested again. One failure fails the command."""
    dead = registration(OTHER, state="dead", reason="gone", attempts=[attempt(410)], operation={"status": "Succeeded"})
    fake.script(f"GET registrations/{ID}", (200, delivered()))
    fake.script(f"GET registrations/{OTHER}", (200, registration(OTHER)), (200, dead))

    output, _ = watch(fake, ID, OTHER, ID)

    assert output.exit == 1
    assert [call.path[-16:] for call in fake.calls] == [ID[-16:], OTHER[-16:], OTHER[-16:]]
    assert "the receiver wants no more callbacks there (HTTP 410)" in output.out


def test_json_output_has_one_line_per_change(fake: FakeBridge) -> None:
    """Each line has the whole registration."""
    fake.script(f"GET registrations/{ID}", (200, registration()), (200, delivered()))

    output, _ = watch(fake, ID, "--json")

    assert [json.loads(line)["state"] for line in output.out.splitlines()] == ["waiting", "delivered"]


def test_a_terminal_shows_a_table_that_is_redrawn_in_place(fake: FakeBridge) -> None:
    """Each round overwrites the previous one."""
    fake.script(f"GET registrations/{ID}", (200, registration()), (200, delivered()))

    output, _ = watch(fake, ID, out=Terminal())

    assert output.exit == 0
    assert "\x1b[1A" in output.out
    assert output.out.index("waiting") < output.out.rindex("delivered")


@pytest.mark.parametrize("columns", ["64", "80", "200"])
def test_the_cursor_rests_below_the_table_on_a_line_of_its_own(
    fake: FakeBridge, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """A terminal echoes `^C` there, and the last drawing overwrites it. So the top of the table is not doubled."""
    monkeypatch.setenv("COLUMNS", columns)
    pending = registration(
        state="pending",
        attempts=[attempt(error="connect")],
        nextAttemptAt="2026-11-23T12:04:00.000Z",
        operation={"status": "Succeeded"},
    )
    fake.script(f"GET registrations/{ID}", (200, pending))
    screen, drawn = Terminal(), list[str]()

    def wait(_seconds: float) -> None:
        drawn.append(screen.getvalue())
        if len(drawn) == 2:
            raise KeyboardInterrupt

    output = type_in("watch", ID, environment=fake.environment, sleep=wait, out=screen, clock=lambda: NOON)

    first = drawn[0]
    assert output.exit == 130
    assert first.endswith("\n")
    assert "next in 4 min" in " ".join(first.split())
    assert max(map(len, plain(first).splitlines())) <= int(columns)
    assert drawn[1].removeprefix(first).count("\x1b[1A") == first.count("\n")


def test_watch_retries_while_the_bridge_is_unavailable(fake: FakeBridge) -> None:
    """A deployment can make the bridge unavailable for a while."""
    fake.script(f"GET registrations/{ID}", (200, registration()), SLOW, (502, "<html>"), (200, delivered()))

    output, stopwatch = watch(fake, ID)

    assert (output.exit, len(stopwatch.waits)) == (0, 3)


def test_watch_gives_up_on_a_bridge_that_stays_unavailable(fake: FakeBridge) -> None:
    """The command gives up after a minute and prints the last error."""
    fake.script(f"GET registrations/{ID}", SLOW)

    output, stopwatch = watch(fake, ID)

    assert (output.exit, output.err) == (3, "StorageUnavailable: Storage does not answer.\n")
    assert stopwatch.now == SILENCE


def test_watch_ends_at_once_for_an_unknown_registration(fake: FakeBridge) -> None:
    """The answer would not change."""
    fake.script(f"GET registrations/{ID}", (404, problem("NotFound", "There is no such registration.")))

    output, stopwatch = watch(fake, ID)

    assert (output.exit, stopwatch.waits) == (3, [])
    assert output.err == "NotFound: There is no such registration. `speech-webhooks list` shows the existing ones.\n"


def test_a_timeout_ends_watch_but_not_the_registration(fake: FakeBridge) -> None:
    """The exit code is distinct."""
    fake.script(f"GET registrations/{ID}", (200, registration()))

    output, stopwatch = watch(fake, ID, "--timeout", "1m")

    assert (output.exit, stopwatch.now) == (4, 60.0)
    assert output.err == f"not ended yet: {ID}; the bridge still works on it\n"


@pytest.mark.parametrize("text", ["2", "soon", "1.5s"])
def test_an_invalid_duration_is_a_usage_error(fake: FakeBridge, text: str) -> None:
    """The error appears before any request."""
    output, _ = watch(fake, ID, "--interval", text)

    assert (output.exit, fake.calls) == (2, [])
