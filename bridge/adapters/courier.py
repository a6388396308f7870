"""One POST to a receiver: what was sent, and what came of it as a value."""

from collections.abc import Mapping
from functools import lru_cache
from http.client import HTTPException
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from bridge.adapters.attempt_deadline import AttemptDeadline
from bridge.adapters.egress import Guard, RefusedByRules
from bridge.adapters.failures import failure_of
from bridge.adapters.resolver import NameNotResolved
from bridge.adapters.transport import guarded_session, prepared
from bridge.core.callback import normalise
from bridge.core.outcome import KEPT_ANSWER, Delivered, Failure, Gone, Outcome, Rejected, Unreachable, answered
from bridge.core.retry import parse_retry_after
from bridge.core.times import Clock

#: Seconds that a registration waits for the address behind a name.
_EARLY_LOOKUP = 1.0

#: URLs that are known to be allowed, at 2 KiB at the most; what is refused is looked at again.
_REMEMBERED = 1024


class HttpCourier:
    """Posts over guarded connections; never follows a redirect, never raises for what a receiver does."""

    def __init__(self, guard: Guard, clock: Clock, *, authorities: str | None = None) -> None:
        """Make one; `authorities` is a file of certificate authorities to trust instead of the public ones."""
        self._guard = guard
        self._clock = clock
        self._session = guarded_session(guard)
        self._verify: bool | str = authorities or True
        self._normalised = lru_cache(_REMEMBERED)(lambda url: normalise(url, guard.rules))

    def objection(self, url: str) -> str | None:
        """Say early why callbacks to a URL would be refused: the name leads to an address that is not allowed.

        A name that does not resolve now may do so when it matters, so nothing is said against it.
        """
        try:
            self._guard.look_early(urlsplit(url).hostname or "", _EARLY_LOOKUP)
        except RefusedByRules:
            return "leads to an address that is not public"
        except NameNotResolved:
            return None
        return None

    def close(self) -> None:
        """Close the connections that were kept."""
        self._session.close()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST to a normalised URL, within the deadline of an attempt.

        A crash right after this repeats the delivery, with the same webhook-id.
        """
        with self._guard.attempt() as deadline:
            try:
                outcome: Outcome = self._post(url, headers, body, deadline)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's answer does to the libraries
                outcome = Unreachable(error=failure_of(error), address=deadline.address)
        if deadline.cut:  # whatever was read until then can look like a whole answer
            return Unreachable(error=Failure.TIMEOUT, address=deadline.address)
        return outcome

    def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, deadline: AttemptDeadline
    ) -> Delivered | Gone | Rejected:
        if self._normalised(url) != url:  # the rules can have changed since it was registered
            raise RefusedByRules("the URL is not one that may be called")
        request = prepared("POST", url, {**headers, "Accept": "*/*"}, body)
        timeout = (self._guard.limits.connect, self._guard.limits.attempt)
        # Not the session's own send: even told not to follow redirects it reads and unpacks the body of one.
        transport = self._session.get_adapter(url)
        with transport.send(request, stream=True, timeout=timeout, verify=self._verify) as response:
            start = _start(response)
            return answered(
                response.status_code,
                address=deadline.address,
                body=start if self._guard.rules.keeps_answer_of(deadline.address) else b"",
                retry_after=parse_retry_after(response.headers.get("Retry-After"), self._clock()),
            )


def _start(response: requests.Response) -> bytes:
    """Read the start of the answer raw, whatever encoding it claims: nothing is unpacked.

    The head was whole, so the status counts even if the body breaks off.
    """
    try:
        return bytes(response.raw.read(4 * KEPT_ANSWER, decode_content=False) or b"")
    except (HTTPError, HTTPException, OSError, ValueError):
        return b""
