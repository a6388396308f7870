"""Where a list goes on: an opaque text for clients, the place in the state index for us."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from bridge.core.keys import index_since

#: The end of an index key: the inverted time and the registration.
_PLACE = re.compile(r"[0-9]{13}:[a-z0-9-]{1,32}:[a-zA-Z0-9._-]{3,64}:[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Names the last entry that a client has seen."""

    place: str

    @property
    def since(self) -> datetime:
        """When that entry came into its state."""
        return index_since(self.place)

    def text(self) -> str:
        """Write it for a client."""
        return base64.urlsafe_b64encode(self.place.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """Read what a client sent back; None where it is no cursor."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            place = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            return None
        return cls(place) if _PLACE.fullmatch(place) else None

    @classmethod
    def of_key(cls, key: str) -> "Cursor | None":
        """Take the place out of the key of an index row; None where the row is nothing of ours."""
        place = key.split(":", 2)[-1]
        return cls(place) if _PLACE.fullmatch(place) else None
