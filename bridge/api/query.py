"""Reads query strings: every parameter wrong in every way ends in one answer that names them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

import azure.functions as func
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from bridge.api.errors import Detail, invalid
from bridge.api.fields import OperationId, SourceName, ValidationContext, WrittenUrl, details_of
from bridge.domain.registration import State
from bridge.domain.upstream import DEFAULT_SOURCE
from bridge.storage.index import CURSOR_TEXT, Cursor, CursorCipher

#: A page has at most this many entries.
MAX_LIMIT = 100
DEFAULT_LIMIT = 50

#: Where the function key may be, in any letter case: the platform reads these parameters, not the app.
_KEY_PARAMETERS = frozenset({"code", "clientid"})


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(MAX_LIMIT))):
        raise PydanticCustomError("number", f"must be a number from 1 to {MAX_LIMIT}")
    return int(value)


_NOT_A_CURSOR = "is not a cursor of this list: take it from the answer before"


def _cursor_text(value: str) -> str:
    if not CURSOR_TEXT.fullmatch(value):
        raise PydanticCustomError("cursor", _NOT_A_CURSOR)
    return value


#: A cursor as a client sends it back, still encrypted.
CursorText = Annotated[str, AfterValidator(_cursor_text)]


def read_cursor(text: str | None, cursors: CursorCipher, *, owner: str | None, query: str) -> Cursor | None:
    """Decrypt a cursor for the list of `owner` (None: of all) with the filter `query`; None if there is none.

    Raises Problem with 400 for a cursor that was made up or is another list's.
    """
    if text is None:
        return None
    cursor = cursors.decrypt(text, owner=owner, query=query)
    if cursor is None:
        raise invalid([Detail("InvalidValue", _NOT_A_CURSOR, "cursor")])
    return cursor


class NoParameters(BaseModel):
    """A call that takes none has none."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ListParameters(NoParameters):
    """What `GET /api/registrations` takes."""

    state: Annotated[State | None, Field(description="Only those in this state.")] = None
    operationId: Annotated[OperationId | None, Field(description="All of this operation, on one page.")] = None
    limit: Annotated[
        int, Field(ge=1, le=MAX_LIMIT, description="How many entries a page has at most."), BeforeValidator(_number)
    ] = DEFAULT_LIMIT
    cursor: Annotated[CursorText | None, Field(description="Where the page begins: from `nextLink`.")] = None


class OperationParameters(NoParameters):
    """What `GET /api/operations/{id}` takes."""

    source: Annotated[SourceName, Field(description="Which Speech endpoint it is of.")] = DEFAULT_SOURCE


class SecretParameters(NoParameters):
    """What `GET /api/signing-secret` takes."""

    callbackUrl: Annotated[WrittenUrl, Field(description="Any callback URL of the origin.")]


_Parameters = TypeVar("_Parameters", bound=NoParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What `GET /api/registrations` asks for."""

    states: Sequence[State]
    operation_id: str | None
    limit: int
    #: As the client sent it.
    cursor: str | None

    @property
    def filter(self) -> str:
        """What a cursor of this list is bound to, beside its owner."""
        return f"list {' '.join(self.states)}"


def read_list_query(request: func.HttpRequest) -> ListQuery:
    """Read which registrations to list.

    Raises Problem with 400, naming every parameter that is wrong.
    """
    given = _read(ListParameters, request)
    return ListQuery(
        states=tuple(State) if given.state is None else (given.state,),
        operation_id=given.operationId,
        limit=given.limit,
        cursor=given.cursor,
    )


def read_source(request: func.HttpRequest, context: ValidationContext) -> str:
    """Read which source an operation is of.

    Raises Problem with 400.
    """
    return _read(OperationParameters, request, context).source


def read_callback_url(request: func.HttpRequest, context: ValidationContext) -> str:
    """Read a callback URL, and write it as registering does.

    Raises Problem with 400.
    """
    return _read(SecretParameters, request, context).callbackUrl


def refuse_parameters(request: func.HttpRequest) -> None:
    """Let a call that takes no parameters have none: every route refuses a parameter that it does not know.

    Raises Problem with 400, naming each parameter.
    """
    _read(NoParameters, request)


def _read(model: type[_Parameters], request: func.HttpRequest, context: ValidationContext | None = None) -> _Parameters:
    given = {name: value for name, value in _query(request).items() if name.lower() not in _KEY_PARAMETERS}
    try:
        return model.model_validate(given, context={"validation": context})
    except ValidationError as error:
        raise invalid(details_of(error)) from None


def _query(request: func.HttpRequest) -> dict[str, str]:
    """Read the query off the URL: the platform leaves parameters without a value out of `params`.

    The values of a parameter that is given twice are joined by commas, as the platform joins them.
    """
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.url.partition("?")[2], keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    return query
