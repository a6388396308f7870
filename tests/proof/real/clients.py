"""Clients of the started app: they repeat a call until it is answered, as a client has to."""

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
#: A client that is put off for so many seconds gives up, and that is a failure.
_MAX_WAIT = 120.0
_CREATED, _KNOWN, _UNAVAILABLE = 201, 200, 503


@dataclass(frozen=True, slots=True)
class Request:
    """One registration that a client wants."""

    #: The operation.
    operation_id: str
    #: Where its callback goes.
    callback_url: str

    @property
    def body(self) -> dict[str, str]:
        """What is posted."""
        return {"operationId": self.operation_id, "callbackUrl": self.callback_url}


def register_all(url: Callable[[], str], requests_made: Iterable[Request], threads: int) -> Sequence[str | None]:
    """Register each, and again where no answer or a 503 came; returns for each what was wrong with its answer."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda request: _register(url, request), requests_made))


def _register(url: Callable[[], str], request: Request) -> str | None:
    """Repeat it until it is answered for good: an answer that was lost makes the next one a 200."""
    end, said = time.monotonic() + _MAX_WAIT, ""
    while time.monotonic() < end:
        try:
            answer = requests.post(f"{url()}/registrations", json=request.body, timeout=_TIMEOUT)
        except requests.RequestException as error:
            said = repr(error)
        else:
            said = f"{answer.status_code} {answer.text}"
            if answer.status_code != _UNAVAILABLE:
                return (
                    None if answer.status_code in (_CREATED, _KNOWN) else f"{request.callback_url} was answered {said}"
                )
        breathe()
    return f"{request.callback_url} was never registered: {said}"


def unfinished(url: str) -> int | None:
    """Count the registrations that have not ended; None where the app did not say so."""
    try:
        answer = requests.get(f"{url}/status", timeout=_TIMEOUT)
        states: dict[str, Any] = answer.json()["registrations"]
    except (requests.RequestException, KeyError):
        return None
    return int(states["waiting"]["count"]) + int(states["pending"]["count"])


def wait_until_finished(url: str, max_wait: float) -> None:
    """Wait until every registration has ended, or for so many seconds; what has not come then is a failure."""
    end = time.monotonic() + max_wait
    while unfinished(url) != 0 and time.monotonic() < end:
        breathe(_LOOK)


def breathe(seconds: float = _BREATH) -> None:
    """Let real time go by: what is proved here happens in it."""
    threading.Event().wait(seconds)
