"""Requests to the Speech service: one GET and its raw answer. `bridge/domain/upstream.py` interprets the answer."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from azure.core.exceptions import AzureError

from bridge.adapters.net.failures import detail_of, failure_of
from bridge.adapters.net.guard import ANYWHERE, Guard, Limits
from bridge.adapters.net.transport import GuardedClient
from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import PollError, PollErrorKind
from bridge.domain.outcome import Failure
from bridge.domain.upstream import RESOURCES, NoReply, Reply, Source

#: The limit of a body in bytes. Longer bodies are cut. Answers of the API are far smaller.
_MAX_BODY = 65_536

#: The limit in bytes of everything received for one request: body, head and framing.
_MAX_BYTES = 2 * _MAX_BODY

#: The number of kept connections per source, which is also the most threads that poll at once.
_CONNECTIONS = 64

#: The kinds of poll error by the failure of a request; every other failure is an invalid response.
_KINDS = {
    Failure.DNS: PollErrorKind.DNS_FAILED,
    Failure.CONNECT: PollErrorKind.CONNECTION_FAILED,
    Failure.CLOSED: PollErrorKind.CONNECTION_CLOSED,
    Failure.TLS: PollErrorKind.TLS_FAILED,
    Failure.TIMEOUT: PollErrorKind.TIMEOUT,
}

#: Returns the header that authorises a request.
Authorisation = Callable[[], Mapping[str, str]]


class SpeechService:
    """All configured sources. Threads may share the object.

    A request has one wall-clock deadline, since a slow gateway would otherwise hold the sweep forever.
    """

    def __init__(
        self, sources: Sequence[Source], authorisations: Mapping[str, Authorisation], limits: Limits | None = None
    ) -> None:
        """Create the client. `authorisations` has the authorisation by the name of the source."""
        self._sources = {source.name: source for source in sources}
        self._authorisations = authorisations
        self._guard = Guard(ANYWHERE, limits)
        self._client = GuardedClient(
            self._guard, per_host=_CONNECTIONS, sends_again=False
        )  # a repeated request would exceed the budget

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch an operation or a job once. A crash right after this costs one request: it is polled again."""
        return self._fetch(ref, RESOURCES[ref.kind])

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch the job with the id of an operation once. A crash right after this costs one request."""
        return self._fetch(ref, RESOURCES[Kind.JOB])

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def _fetch(self, ref: OperationRef, what: str) -> Reply | NoReply:
        source = self._sources.get(ref.source)
        if source is None:
            return _no_reply(PollErrorKind.UNKNOWN_SOURCE, f"no source is named {ref.source}")
        try:
            proof = self._authorisations[source.name]()
        except AzureError as error:
            return _no_reply(PollErrorKind.CREDENTIAL_UNAVAILABLE, f"no token: {type(error).__name__}")
        with self._guard.attempt() as deadline:
            try:
                reply: Reply | NoReply = self._get(source, f"{source.path}/{what}/{ref.id}", proof)
            except Exception as error:  # noqa: BLE001 - any effect of an answer on the libraries
                reply = _no_reply(_KINDS.get(failure_of(error), PollErrorKind.INVALID_RESPONSE), detail_of(error))
        return _no_reply(PollErrorKind.TIMEOUT, "no whole answer in time") if deadline.cut else reply

    def _get(self, source: Source, path: str, proof: Mapping[str, str]) -> Reply:
        url = f"{source.endpoint}/{path}?{urlencode({'api-version': source.api_version})}"
        headers = {**proof, "Accept": "application/json"}
        with self._client.exchange("GET", url, headers, budget=_MAX_BYTES) as answer:
            return Reply(status=answer.status, body=answer.read(_MAX_BODY), retry_after=answer.get("Retry-After"))


def _no_reply(kind: PollErrorKind, detail: str) -> NoReply:
    return NoReply(PollError(kind, detail))
