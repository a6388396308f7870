"""Reads query strings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import azure.functions as func

from bridge.api.problems import Detail, invalid
from bridge.core.callback import CallbackRefused, CallbackRules, normalise
from bridge.core.cursor import Cursor
from bridge.core.keys import OPERATION_ID
from bridge.core.registration import State
from bridge.core.source import DEFAULT_SOURCE

#: A page has at most this many entries.
MAX_LIMIT = 100
DEFAULT_LIMIT = 50

#: Where the function key may be; the platform reads them, not the app.
_KEY_PARAMETERS = frozenset({"code", "clientId"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What `GET /api/registrations` asks for."""

    states: Sequence[State]
    operation_id: str | None
    limit: int
    cursor: Cursor | None


def read_list_query(request: func.HttpRequest) -> ListQuery:
    """Read which registrations to list.

    Raises Problem with 400, naming every parameter that is wrong.
    """
    given = request.params
    details = _unknown(given, {"state", "operationId", "limit", "cursor"})
    state, operation_id, limit, cursor = (given.get(name) for name in ("state", "operationId", "limit", "cursor"))
    if state is not None and state not in set(State):
        details.append(_wrong("state", f"must be one of {', '.join(State)}"))
    if operation_id is not None and not OPERATION_ID.fullmatch(operation_id):
        details.append(_wrong("operationId", "is not an operation id"))
    if limit is not None and not _is_limit(limit):
        details.append(_wrong("limit", f"must be a number from 1 to {MAX_LIMIT}"))
    place = None if cursor is None else Cursor.parse(cursor)
    if cursor is not None and place is None:
        details.append(_wrong("cursor", "is not a cursor: take it from nextLink"))
    if details:
        raise invalid(details)
    return ListQuery(
        states=tuple(State) if state is None else (State(state),),
        operation_id=operation_id,
        limit=DEFAULT_LIMIT if limit is None else int(limit),
        cursor=place,
    )


def read_source(request: func.HttpRequest, known: Mapping[str, object]) -> str:
    """Read which source an operation is of.

    Raises Problem with 400.
    """
    details = _unknown(request.params, {"source"})
    name = str(request.params.get("source", DEFAULT_SOURCE))
    if name not in known:
        details.append(_wrong("source", "is not a configured source"))
    if details:
        raise invalid(details)
    return name


def read_callback_url(request: func.HttpRequest, rules: CallbackRules) -> str:
    """Read a callback URL, and write it as registering does.

    Raises Problem with 400.
    """
    details, url = _unknown(request.params, {"callbackUrl"}), ""
    given = request.params.get("callbackUrl")
    try:
        url = normalise(given or "", rules)
    except CallbackRefused as error:
        details.append(_wrong("callbackUrl", str(error) if given else "is required"))
    if details:
        raise invalid(details)
    return url


def refuse_parameters(request: func.HttpRequest) -> None:
    """Let a call that takes none have none.

    Raises Problem with 400.
    """
    details = _unknown(request.params, set())
    if details:
        raise invalid(details)


def _unknown(given: Mapping[str, str], known: set[str]) -> list[Detail]:
    names = sorted(set(given) - known - _KEY_PARAMETERS)
    return [Detail("Unknown", "is not a parameter of this call", name[:64]) for name in names]


def _wrong(target: str, message: str) -> Detail:
    return Detail("InvalidValue", message, target)


def _is_limit(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT
