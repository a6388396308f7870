"""The message of a registration, as the bridge would send it now: the exact body, and headers with a new signature."""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.cli.client import Api, Json, other_version
from bridge.domain.custom_headers import NAME, VALUE


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message of which the headers and the body are valid in an HTTP request."""

    headers: Mapping[str, str]
    body: bytes
    #: The answer of the bridge.
    shown: Json

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def read_message(api: Api, registration_id: str) -> SignedMessage:
    """Read a message. Raises BridgeUnreachable and Refused, also for an answer that is not a message."""
    shown = api.get(f"registrations/{registration_id}/message")
    headers, body = shown["headers"], shown["body"]
    if not isinstance(headers, dict) or not isinstance(body, str):
        raise other_version("the answer is not a message")
    for name, value in headers.items():
        if not NAME.fullmatch(name) or not isinstance(value, str) or not VALUE.fullmatch(value):
            raise other_version(f"{name[:80]!r} is not a header")
    try:
        return SignedMessage(dict(headers), body.encode(), shown)
    except UnicodeEncodeError:
        raise other_version("the body of the message is not text") from None
