"""Sources beside `default`: what `BRIDGE_SOURCES` says, one JSON array of objects.

[{"name": "voices", "endpoint": "https://n.cognitiveservices.azure.com", "path": "customvoice",
  "otherEndpoints": ["https://westeurope.api.cognitive.microsoft.com"], "keyVariable": "VOICES_KEY",
  "apiVersion": "2026-01-01", "requestsPerSecond": 5}]
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from bridge.domain.source import DEFAULT_SOURCE, Source
from bridge.setting_kinds import SpeechEndpoint

#: The api-version of each path, unless an entry says another (the public REST reference).
API_VERSIONS = {
    "avatar": "2024-08-01",
    "texttospeech": "2024-04-01",
    "customvoice": "2026-01-01",
    "videotranslation": "2026-03-01",
}

#: The paths that have jobs, `GET /{path}/batchsyntheses/{id}`, which say why an operation failed.
EXPLAINED = frozenset({"avatar", "texttospeech"})


class SourceEntry(BaseModel):
    """One object of the array."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    endpoint: SpeechEndpoint
    otherEndpoints: tuple[SpeechEndpoint, ...] = ()  # noqa: N815 - JSON's own name
    path: Literal["avatar", "texttospeech", "customvoice", "videotranslation"]
    apiVersion: Annotated[str, Field(min_length=1)] | None = None  # noqa: N815 - likewise
    keyVariable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None  # noqa: N815 - likewise
    requestsPerSecond: Annotated[float, Field(gt=0, le=100)] = 1.0  # noqa: N815 - likewise

    def source(self) -> Source:
        """Write it as a source."""
        return Source(
            name=self.name,
            endpoint=self.endpoint,
            other_endpoints=self.otherEndpoints,
            path=self.path,
            api_version=self.apiVersion or API_VERSIONS[self.path],
            requests_per_second=self.requestsPerSecond,
        )


_ENTRIES = TypeAdapter(tuple[SourceEntry, ...])


def read_entries(value: object) -> object:
    """Read the array; for pydantic's validation. Raises ValueError, naming entry and field but no value."""
    if isinstance(value, tuple):
        return value
    try:
        parsed = from_json(str(value))
    except ValueError:
        raise ValueError("write it as a JSON array of objects") from None
    try:
        entries = _ENTRIES.validate_python(parsed)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(each["loc"], each["msg"]) for each in error.errors())) from None
    doubled = [name for name, number in Counter(each.name for each in entries).items() if number > 1]
    if doubled or any(each.name == DEFAULT_SOURCE for each in entries):
        raise ValueError("each name must be another, and none `default`")
    return entries


def ambiguous(sources: Iterable[Source]) -> bool:
    """Tell whether an `Operation-Location` could belong to two of `sources`."""
    places = Counter((endpoint, each.path) for each in sources for endpoint in {at.lower() for at in each.endpoints})
    return any(number > 1 for number in places.values())


def _problem(place: tuple[int | str, ...], message: str) -> str:
    where = f"entry {place[0]}" if place and isinstance(place[0], int) else "the array"
    field = ".".join(str(part) for part in place[1:])
    return f"{where}{', ' if field else ''}{field}: {message.removeprefix('Value error, ')}"
