"""Hosts that stop, die or time out: no registration is lost, on the local host and on Microsoft's.

Scenarios of minutes run on the deployed Python only, with shortened times of the host.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.answer import Answer
from local.azurite import Azurite
from local.receiver import Receiver
from local.upstream import Upstream
from tests.support.hosts import IS_DEPLOYED_PYTHON, MAX_WAIT, Kind, Running, app_settings, start_host

pytestmark = pytest.mark.skipif(not IS_DEPLOYED_PYTHON, reason="scenarios of minutes run on the deployed Python alone")


@pytest.fixture
def place(kind: Kind, tmp_path: Path) -> Iterator["Place"]:
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        upstream = running.enter_context(Upstream.start(key="the-speech-key"))
        receiver = running.enter_context(Receiver.start())
        yield Place(kind, tmp_path, azurite, upstream, receiver, running)


class Place:
    """The environment for hosts that start one after the other or side by side, on the same storage."""

    def __init__(
        self, kind: Kind, state: Path, azurite: Azurite, upstream: Upstream, receiver: Receiver, running: ExitStack
    ) -> None:
        self._parts = (kind, azurite, upstream, receiver)
        self._state = state
        self._running = running
        self._started = 0

    def start(self, **own: str) -> Running:
        kind, azurite, upstream, receiver = self._parts
        self._started += 1
        host = start_host(kind, self._state / str(self._started), app_settings(azurite, upstream, **own))
        self._running.callback(host.stop)
        return Running(kind=kind, host=host, azurite=azurite, upstream=upstream, receiver=receiver)


def begin_slow_attempts(app: Running, count: int, *, delay: float) -> list[dict[str, str]]:
    """Register callbacks to a slow receiver, and wait until all attempts are in flight."""
    app.receiver.answer("/slow", then=Answer(status=204, delay=delay))
    created = []
    for number in range(count):
        app.upstream.script(f"slow-{number}", "Succeeded")
        created.append(app.register(f"slow-{number}", "/slow"))
    app.receiver.wait_for(lambda came: len(came) >= count, MAX_WAIT)
    return created


def test_sigterm_lets_attempts_in_flight_end_and_records_them(place: Place) -> None:
    app = place.start()
    created = begin_slow_attempts(app, 3, delay=4.0)

    app.host.stop()

    after = place.start()
    for each in created:
        shown = after.until(each, "delivered")
        assert [attempt["status"] for attempt in shown["attempts"]] == [204]
    assert len(app.receiver.callbacks) == len(created)


def test_sigkill_loses_no_callback(place: Place) -> None:
    """Attempts in flight are repeated under the same id after the end of the lease."""
    app = place.start()
    created = begin_slow_attempts(app, 3, delay=4.0)
    app.upstream.script("later", "Running")
    later = app.register("later", "/later")

    app.host.kill()

    app.receiver.answer("/slow", then=204)
    app.upstream.script("later", "Succeeded")
    after = place.start()
    after.until(later, "delivered")
    for each in created:
        after.until(each, "delivered")
    ids = [each.headers["webhook-id"] for each in app.receiver.callbacks if each.path == "/slow"]
    assert len(set(ids)) == len(created)


def test_one_of_two_instances_continues_after_the_other_dies(place: Place) -> None:
    first, second = place.start(), place.start()
    created = begin_slow_attempts(first, 4, delay=2.0)

    first.host.kill()

    first.upstream.script("after", "Succeeded")
    created.append(second.register("after", "/after"))
    for each in created:
        second.until(each, "delivered")
    by_id = {each.headers["webhook-id"] for each in first.receiver.callbacks}
    assert len(by_id) == len(created)


def test_two_instances_deliver_each_callback_once(place: Place) -> None:
    apps = [place.start(), place.start()]
    created: list[dict[str, str]] = []

    def register(app: Running, name: str) -> None:
        app.upstream.script(name, "Succeeded")
        created.append(app.register(name, f"/both/{name}"))

    threads = [threading.Thread(target=register, args=(apps[n % 2], f"both-{n}")) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in created:
        apps[0].until(each, "delivered")

    paths = [each.path for each in apps[0].receiver.callbacks]
    assert sorted(paths) == sorted(f"/both/both-{n}" for n in range(20))


def test_function_timeout_of_microsofts_host_loses_no_callback(azurite: Azurite, tmp_path: Path) -> None:
    """The host ends the worker and starts another. The attempt is repeated under the same id.

    The local host does not enforce the timeout (see `local/README.md`).
    """
    short = {"AzureFunctionsJobHost__functionTimeout": "00:00:05"}
    with Upstream.start(key="the-speech-key") as upstream, Receiver.start() as receiver:
        receiver.answer("/hangs", Answer(status=204, delay=12.0), then=204)
        upstream.script("hangs", "Succeeded")
        with start_host("microsoft", tmp_path, app_settings(azurite, upstream, **short)) as host:
            app = Running(kind="microsoft", host=host, azurite=azurite, upstream=upstream, receiver=receiver)
            created = app.register("hangs", "/hangs")
            receiver.wait_for(2, MAX_WAIT * 2)
            app.until(created, "delivered")
        lines = host.lines.entries

    assert any("Timeout value of 00:00:05 exceeded" in line for line in lines)
    assert len({each.headers["webhook-id"] for each in receiver.callbacks}) == 1
