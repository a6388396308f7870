"""Asks the Speech service: one GET, read as it comes. What the answer means is decided in `bridge/core/answer.py`."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from azure.core.exceptions import AzureError

from bridge.adapters.egress import ANYWHERE, Guard, Limits
from bridge.adapters.failures import failure_of
from bridge.adapters.transport import guarded_session, prepared
from bridge.core.answer import NoReply, NoToken, Reply
from bridge.core.keys import OperationRef
from bridge.core.outcome import Failure
from bridge.core.source import Source

#: A longer answer is cut here: nothing that the API answers comes near it.
_MAX_BYTES = 65_536

#: Connections that are kept to each source; more threads than this never ask at once.
_CONNECTIONS = 64

#: Makes the header that proves who asks.
Authorisation = Callable[[], Mapping[str, str]]

#: The scope of Entra tokens for Speech.
SPEECH_SCOPE = "https://cognitiveservices.azure.com/.default"


class SpeechService:
    """Every source that the bridge may ask. Threads may share it.

    A question has one wall-clock deadline, since a gateway that drips would otherwise hold the sweep for ever.
    """

    def __init__(
        self, sources: Sequence[Source], authorisations: Mapping[str, Authorisation], limits: Limits | None = None
    ) -> None:
        """Make one; `authorisations` proves who asks, by the name of the source."""
        self._sources = {source.name: source for source in sources}
        self._authorisations = authorisations
        self._guard = Guard(ANYWHERE, limits)
        self._session = guarded_session(self._guard, per_host=_CONNECTIONS)

    def ask(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Ask once for an operation. A crash right after this costs one request: it is asked again."""
        return self._ask(ref, "operations")

    def ask_why(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Ask once for the job with the id of an operation. A crash right after this costs one request."""
        return self._ask(ref, "batchsyntheses")

    def close(self) -> None:
        """Close the connections that were kept."""
        self._session.close()

    def _ask(self, ref: OperationRef, what: str) -> Reply | NoReply | NoToken:
        source = self._sources.get(ref.source)
        if source is None:
            return NoReply(f"no source is named {ref.source}")
        try:
            proof = self._authorisations[source.name]()
        except AzureError as error:
            return NoToken(f"no token: {type(error).__name__}")
        with self._guard.attempt() as deadline:
            try:
                reply: Reply | NoReply = self._get(source, f"{source.path}/{what}/{ref.id}", proof)
            except Exception as error:  # noqa: BLE001 - whatever an answer does to the libraries
                reply = NoReply(failure_of(error))
        return NoReply(Failure.TIMEOUT) if deadline.cut else reply

    def _get(self, source: Source, path: str, proof: Mapping[str, str]) -> Reply:
        url = f"{source.endpoint}/{path}?{urlencode({'api-version': source.api_version})}"
        request = prepared("GET", url, {**proof, "Accept": "application/json"})
        timeout = (self._guard.limits.connect, self._guard.limits.attempt)
        # Not the session's own send: even told not to follow redirects it reads the whole body of one.
        transport = self._session.get_adapter(url)
        with transport.send(request, stream=True, timeout=timeout) as response:
            return Reply(
                status=response.status_code,
                body=bytes(response.raw.read(_MAX_BYTES, decode_content=False) or b""),
                retry_after=response.headers.get("Retry-After"),
            )
