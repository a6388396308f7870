"""A source: where operations are asked for, and how a client's `Operation-Location` finds it."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bridge.core.keys import OPERATION_ID, OperationRef

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

    def locate(self, location: str) -> OperationRef | None:
        """Read a whole `Operation-Location`; None where it is not about an operation of this source.

        Its api-version is not trusted: the source's own is used.
        """
        try:
            said, own = urlsplit(location), urlsplit(self.endpoint)
        except ValueError:
            return None
        if (said.scheme.lower(), said.netloc.lower()) != (own.scheme.lower(), own.netloc.lower()):
            return None
        prefix = f"{own.path}/{self.path}/operations/"
        operation_id = unquote(said.path.removeprefix(prefix))
        if not said.path.startswith(prefix) or not OPERATION_ID.fullmatch(operation_id):
            return None
        return OperationRef(self.name, operation_id)
