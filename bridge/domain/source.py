"""A source: where operations are asked for, and how a client's `Operation-Location` finds it."""

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from bridge.domain.callback_url import DEFAULT_PORTS
from bridge.domain.ids import OPERATION_ID, OperationRef

#: The source that the `SPEECH_*` settings describe.
DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Speech endpoint, path prefix and api-version; who may ask is the adapter's business."""

    #: Lower-case letters, digits and dashes.
    name: str
    #: `https://host`, without a slash at the end.
    endpoint: str
    #: What stands before `/operations`; event types begin with it.
    path: str
    api_version: str
    #: How often it may be asked at the most.
    requests_per_second: float = 1.0
    #: Endpoints that mean the same resource: Speech may answer with the regional one what was asked of another.
    other_endpoints: tuple[str, ...] = ()
    #: Whether it is asked for the job of a failed operation, to say why it failed.
    explains_failures: bool = False

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint that means this resource, the one that is asked first."""
        return (self.endpoint, *self.other_endpoints)

    def locate(self, location: str) -> OperationRef | None:
        """Read a whole `Operation-Location`; None where it is not about an operation of this source.

        Its api-version is not trusted: the source's own is used. A slash at the end means nothing.
        """
        try:
            said = urlsplit(location)
            place = _place(said)
        except ValueError:
            return None
        for endpoint in map(urlsplit, self.endpoints):
            prefix = f"{endpoint.path}/{self.path}/operations/"
            operation_id = unquote(said.path.removeprefix(prefix).removesuffix("/"))
            if place == _place(endpoint) and said.path.startswith(prefix) and OPERATION_ID.fullmatch(operation_id):
                return OperationRef(self.name, operation_id)
        return None


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port, whether the port is written or not."""
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
