"""Asks the Speech service: one GET, read as it comes. What the answer means is decided in `bridge/core/answer.py`."""

import threading
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy

import requests
from azure.core.exceptions import AzureError
from urllib3.exceptions import HTTPError

from bridge.core.answer import NoReply, NoToken, Reply
from bridge.core.keys import OperationRef
from bridge.core.source import Source

#: Seconds to connect, and seconds without a byte.
_TIMEOUT = (5, 10)

#: A longer answer is cut here: nothing that the API answers comes near it.
_MAX_BYTES = 65_536

#: Makes the header that proves who asks.
Authorisation = Callable[[], Mapping[str, str]]

#: The scope of Entra tokens for Speech.
SPEECH_SCOPE = "https://cognitiveservices.azure.com/.default"


class SpeechService:
    """Every source that the bridge may ask. Keeps one session, and so one connection, per thread."""

    def __init__(self, sources: Sequence[Source], authorisations: Mapping[str, Authorisation]) -> None:
        """Make one; `authorisations` proves who asks, by the name of the source."""
        self._sources = {source.name: source for source in sources}
        self._authorisations = authorisations
        self._local = threading.local()

    def ask(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Ask once for an operation. A crash right after this costs one request: it is asked again."""
        source = self._sources.get(ref.source)
        if source is None:
            return NoReply(f"no source is named {ref.source}")
        try:
            return self._get(source, ref.id)
        except AzureError as error:
            return NoToken(f"no token: {type(error).__name__}")
        except (requests.RequestException, HTTPError, ValueError) as error:  # a key that is no header is a ValueError
            return NoReply(_what(error))

    def _get(self, source: Source, operation_id: str) -> Reply:
        url = f"{source.endpoint}/{source.path}/operations/{operation_id}"
        headers = {**self._authorisations[source.name](), "Accept": "application/json"}
        asked = requests.Request("GET", url, headers, params={"api-version": source.api_version})
        session = self._session()
        # Not the session's own send: even told not to follow redirects it reads the whole body of one.
        transport = session.get_adapter(url)
        with transport.send(session.prepare_request(asked), stream=True, timeout=_TIMEOUT) as response:
            body = b""
            for chunk in response.iter_content(_MAX_BYTES):
                body += chunk
                if len(body) >= _MAX_BYTES:
                    break
            return Reply(
                status=response.status_code,
                body=body[:_MAX_BYTES],
                retry_after=response.headers.get("Retry-After"),
            )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._local.session = session
        return session


def _what(error: Exception) -> str:
    """Name a fault for people. Its own text would show the URL."""
    if isinstance(error, requests.Timeout):
        return "timeout"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failed"
    if isinstance(error, requests.ConnectionError):
        return "connection failed"
    return type(error).__name__
