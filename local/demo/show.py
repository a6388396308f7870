"""The demo: register, watch, verify, check."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import requests

from local.demo.setup import Setup, script_upstream, set_up
from local.demo.story import ACTS, Act, problems, verified
from local.demo.timeline import Timeline
from local.errors import LocalError
from local.narrator import failure
from local.receiver import Receiver

#: The time limit of the demo in seconds.
LIMIT = 50.0

_LOOK = 0.1
_LAST_WORDS = 10
_PATHS = {f"/{act.name}" for act in ACTS}
_ENDED = {"delivered", "dead", "canceled", "skipped"}


def demo(environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
    """Show the whole job once. Raises LocalError with the reason if any result is wrong."""
    timeline = Timeline(sys.stdout, clock, environ)
    timeline.tell("Three operations of Azure AI Speech, three callbacks:\n")
    for act in ACTS:
        timeline.tell(f"    {act.name:<8} {act.about}")
    timeline.tell("\nStarting storage, a fake Speech service, a receiver and the function app …\n")
    with set_up(environ, timeline.tell) as setup, ExitStack() as later:
        try:
            _Show(setup, timeline, later).run()
        except (LocalError, requests.RequestException) as error:
            output = "\n".join(setup.host.lines.entries[-_LAST_WORDS:])
            raise LocalError(f"the demo failed: {error}\nThe last lines of the function app:\n{output}") from error
    timeline.tell("\nAll three arrived, once each and with good signatures. To try it yourself: make start")


class _Show:
    """The running demo. Remembers earlier states, so that only changes are shown."""

    def __init__(self, setup: Setup, timeline: Timeline, later: ExitStack) -> None:
        self._setup = setup
        self._timeline = timeline
        self._later = later
        self._receivers = [setup.receiver]
        self._created: dict[str, dict[str, Any]] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._events: dict[str, list[Mapping[str, Any]]] = {act.name: [] for act in ACTS}

    def run(self) -> None:
        """Register, watch until all is over, and check."""
        self._timeline.begin()
        script_upstream(self._setup.upstream)
        for act in ACTS:
            self._register(act)
        while not all(shown["state"] in _ENDED for shown in self._shown.values()):
            if self._timeline.elapsed > LIMIT:
                states = {name: shown["state"] for name, shown in self._shown.items()}
                raise LocalError(f"after {LIMIT:.0f} s this is how far it came: {states}")
            for act in ACTS:
                self._look(act)
            time.sleep(_LOOK)
        wrong = [each for act in ACTS for each in problems(act, self._shown[act.name], self._events[act.name])]
        strangers = {each.path for receiver in self._receivers for each in receiver.callbacks} - _PATHS
        wrong += [f"a callback came to {path}, where nobody registered one" for path in sorted(strangers)]
        if wrong:
            raise LocalError("; ".join(wrong))

    def _register(self, act: Act) -> None:
        port = self._setup.late_port if act.receiver_is_late else self._setup.receiver.port
        body = {
            "operationId": act.operation_id,
            "callbackUrl": f"http://127.0.0.1:{port}/{act.name}",
            "metadata": {"name": act.name},
        }
        answer = requests.post(f"{self._setup.host.url}/api/registrations", json=body, timeout=10)
        if answer.status_code != requests.codes.created:
            raise LocalError(f"{act.name} cannot be registered: {answer.status_code} {answer.text}")
        self._created[act.name] = self._shown[act.name] = answer.json()
        nobody = ", where nobody listens yet" if act.receiver_is_late else ""
        self._timeline.happens(act.name, f"registered: call back {body['callbackUrl']}{nobody}")

    def _look(self, act: Act) -> None:
        """Show the changes of a registration, each one after its cause.

        The receiver is read after the API, and may be ahead of it. A callback is therefore shown only after the API
        has shown the final status that it reports.
        """
        before = self._shown[act.name]
        url = f"{self._setup.host.url}/api/registrations/{before['id']}"
        now = requests.get(url, timeout=10).json()
        if now["operation"]["status"] != before["operation"]["status"]:
            self._timeline.happens(act.name, f"Speech returned {now['operation']['status']}")
        if now["state"] == "pending" != before["state"]:
            self._timeline.happens(act.name, "its callback is on the way")
        for attempt in now["attempts"][len(_finished(before)) :]:
            if attempt["error"]:
                why = failure(attempt["error"], attempt["status"])
                self._timeline.happens(act.name, f"attempt {attempt['number']} failed: {why}", bad=True)
                self._open_late_receiver(act)
        if now["state"] != "waiting":
            self._tell_callbacks(act)
        if now["state"] != before["state"] and now["state"] in _ENDED:
            self._timeline.happens(act.name, f"is {now['state']}", good=now["state"] == "delivered")
        self._shown[act.name] = {**now, "attempts": _finished(now)}

    def _open_late_receiver(self, act: Act) -> None:
        if act.receiver_is_late and len(self._receivers) == 1:
            self._receivers.append(self._later.enter_context(Receiver.start(port=self._setup.late_port)))
            self._timeline.happens(act.name, "its receiver comes up; the bridge tries again in about 5 s")

    def _tell_callbacks(self, act: Act) -> None:
        came = [each for receiver in self._receivers for each in receiver.callbacks if each.path == f"/{act.name}"]
        for callback in came[len(self._events[act.name]) :]:
            event = verified(callback, self._created[act.name]["signingSecret"])
            self._events[act.name].append(event)
            told = f"callback received, signature verified: {event['type']} {callback.headers['webhook-id']}"
            self._timeline.happens(act.name, told, good=True)


def _finished(shown: Mapping[str, Any]) -> list[Any]:
    """Return the attempts with a recorded outcome."""
    return [each for each in shown.get("attempts", []) if each["error"] or each["status"]]
