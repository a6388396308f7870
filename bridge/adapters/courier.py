"""One POST to a receiver: what was sent, and what came of it as a value."""

from collections.abc import Mapping

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from bridge import __version__
from bridge.adapters.egress import CONNECT_TIMEOUT, Guard, NameNotResolved, RefusedByRules, guarded_session
from bridge.core.outcome import KEPT_ANSWER, Outcome, Unreachable, answered
from bridge.core.retry import parse_retry_after
from bridge.core.times import Clock

#: Seconds without a byte of the answer.
_READ_TIMEOUT = 10

#: Names the bridge to receivers.
USER_AGENT = f"speech-webhook-bridge/{__version__}"


class HttpCourier:
    """Posts over guarded connections; never follows a redirect, never raises for what a receiver does."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock
        self._session = guarded_session(guard)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST to a normalised URL.

        A crash right after this repeats the delivery, with the same webhook-id.
        """
        self._guard.note(None)
        request = requests.Request("POST", url, headers=self._own(headers), data=body)
        prepared = self._session.prepare_request(request)
        prepared.url = url
        try:
            with self._session.send(
                prepared, timeout=(CONNECT_TIMEOUT, _READ_TIMEOUT), allow_redirects=False, stream=True
            ) as response:
                return self._read(response)
        except (requests.RequestException, HTTPError, RefusedByRules, NameNotResolved, OSError) as error:
            return Unreachable(error=_failure(error), address=self._guard.address)

    def _own(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, "User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}

    def _read(self, response: requests.Response) -> Outcome:
        """Read the start of the answer raw: whatever encoding it claims, nothing is unpacked."""
        start = response.raw.read(4 * KEPT_ANSWER, decode_content=False)
        return answered(
            response.status_code,
            address=self._guard.address,
            body=start,
            retry_after=parse_retry_after(response.headers.get("Retry-After"), self._clock()),
        )


def _failure(error: Exception) -> str:
    """Name the class of a failure; its text could show the URL."""
    match error:
        case RefusedByRules():
            return "refused-by-rules"
        case NameNotResolved():
            return "dns"
        case requests.exceptions.SSLError():
            return "tls"
        case requests.Timeout() | ReadTimeoutError() | TimeoutError():
            return "timeout"
        case requests.ConnectionError():
            return "connect"
        case _:
            return "protocol"
