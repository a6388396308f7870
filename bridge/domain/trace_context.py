"""The header that joins a callback to the trace of whoever registered it: W3C Trace Context, 3.2.

What a caller sends as `traceparent` is kept with its registration for days and then sent to somebody else, so it is
read strictly. What is not exactly of version 00 is taken for none, as the specification asks, and never for a fault of
the registration; a later version may say more behind the four parts (3.2.2.2), and half of it is not sent on.
"""

import re

#: Exactly these four parts, in lower case (3.2.2); neither id is all zeros (3.2.2.3, 3.2.2.4).
_VERSION_00 = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read_traceparent(given: str | None) -> str | None:
    """Read a header, to be sent on unchanged; None where there is none, or one that is not exactly of version 00."""
    return given if given is not None and _VERSION_00.fullmatch(given) else None
