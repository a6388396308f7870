"""The decisions of the queue trigger: the wait, the decoding of a message, and its metadata. Pure."""

import base64
import json
from datetime import datetime, timedelta

from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage

_SHORTEST_WAIT = timedelta(milliseconds=100)
_MOST_DOUBLINGS = 30


def polling_delay(empty_polls: int, longest: timedelta, spread: float) -> timedelta:
    """Return the wait after a number of consecutive empty or failed requests.

    Doubles from 100 ms. `spread`, a random number from 0.8 to 1.2, separates instances.
    """
    if empty_polls <= 1:
        return min(_SHORTEST_WAIT, longest)
    doublings = min(empty_polls - 2, _MOST_DOUBLINGS)
    grown: timedelta = _SHORTEST_WAIT + _SHORTEST_WAIT * spread * 2**doublings
    return min(grown, longest)


def read_body(content: str, encoding: str) -> bytes:
    """Return the bytes of a message's body. Raises ValueError if the body has another encoding."""
    if encoding == "base64":
        return base64.b64decode(content, validate=True)
    return content.encode()


def trigger_metadata(message: QueueMessage, body: str) -> dict[str, Datum]:
    """Return the metadata of a message that the host passes to the worker.

    If the body is a JSON object, its properties replace metadata of the same name, in any letter case: a body with an
    "id" hides the id of its message.
    """
    metadata = {
        "QueueTrigger": Datum(body, "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "ExpirationTime": _time(message.expires_on),
        "Id": Datum(message.id, "string"),
        "InsertionTime": _time(message.inserted_on),
        "NextVisibleTime": _time(message.next_visible_on),
        "PopReceipt": Datum(message.pop_receipt, "string"),
    }
    names = {name.lower(): name for name in metadata}
    for name, value in _properties(body).items():
        metadata[names.get(name.lower(), name)] = Datum(str(value), "string")
    return metadata


def _time(moment: datetime | None) -> Datum:
    return Datum(json.dumps(moment and moment.isoformat()), "json")


def _properties(body: str) -> dict[str, str | float | bool]:
    """Return the plain values at the top of a JSON object. Empty for any other body."""
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str | int | float)}
