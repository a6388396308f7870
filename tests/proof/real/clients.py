"""Clients of the started app: each repeats a call until an answer arrives, as clients must."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests

_TIMEOUT = 30.0
_BREATH = 0.1
_LOOK = 0.5
#: A client gives up after this many seconds without a final answer, which is a failure.
_MAX_WAIT = 120.0
_CREATED, _KNOWN, _UNAVAILABLE = 201, 200, 503


@dataclass(frozen=True, slots=True)
class Request:
    """One intended registration."""

    #: The operation.
    operation_id: str
    #: The callback URL.
    callback_url: str

    @property
    def body(self) -> dict[str, str]:
        """The request body."""
        return {"operationId": self.operation_id, "callbackUrl": self.callback_url}


def register_all(url: Callable[[], str], requests_made: Iterable[Request], threads: int) -> Sequence[str | None]:
    """Post each registration, and again after a lost answer or a 503. Returns the problem of each, if any."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda request: _register(url, request), requests_made))


def _register(url: Callable[[], str], request: Request) -> str | None:
    """Repeat until the answer is final. After a lost answer, the next one is 200 instead of 201."""
    end, last = time.monotonic() + _MAX_WAIT, ""
    while time.monotonic() < end:
        try:
            answer = requests.post(f"{url()}/registrations", json=request.body, timeout=_TIMEOUT)
        except requests.RequestException as error:
            last = repr(error)
        else:
            last = f"{answer.status_code} {answer.text}"
            if answer.status_code != _UNAVAILABLE:
                return None if answer.status_code in (_CREATED, _KNOWN) else f"{request.callback_url} got {last}"
        breathe()
    return f"{request.callback_url} was never registered: {last}"


def unfinished(url: str) -> int | None:
    """Count the registrations that have not ended. None if the app did not answer."""
    try:
        answer = requests.get(f"{url}/status", timeout=_TIMEOUT)
        states: dict[str, Any] = answer.json()["registrations"]
    except (requests.RequestException, KeyError):
        return None
    return int(states["waiting"]["count"]) + int(states["pending"]["count"])


def wait_until_finished(url: str, max_wait: float) -> None:
    """Wait until all registrations have ended, at most `max_wait` seconds."""
    end = time.monotonic() + max_wait
    while unfinished(url) != 0 and time.monotonic() < end:
        breathe(_LOOK)


def breathe(seconds: float = _BREATH) -> None:
    """Let real time pass: this proof uses the real clock."""
    threading.Event().wait(seconds)
