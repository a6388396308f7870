"""Parses query strings. One answer names all invalid parameters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, urlencode

import azure.functions as func
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bridge.api.errors import Detail, invalid
from bridge.api.fields import (
    Group,
    Host,
    Instant,
    OperationId,
    Outcome,
    RequestModel,
    SourceName,
    ValidationContext,
    WrittenUrl,
)
from bridge.domain.ids import Kind
from bridge.domain.registration import State
from bridge.domain.upstream import DEFAULT_SOURCE
from bridge.storage.index import CURSOR_TEXT, Cursor, CursorCipher, EntryFilter, IndexEntry

#: The largest and the default number of entries of a page.
MAX_LIMIT = 100
DEFAULT_LIMIT = 50

#: Parameters that every call ignores, in any letter case: the function key, which the platform reads, and the version
#: of the API that Azure's clients send. The API has one version.
_IGNORED = frozenset({"code", "clientid", "api-version"})


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(MAX_LIMIT))):
        raise PydanticCustomError("number", f"must be a number from 1 to {MAX_LIMIT}")
    return int(value)


_NOT_A_CURSOR = "is not a cursor of this list: take it from the answer before"


def _cursor_text(value: str) -> str:
    if not CURSOR_TEXT.fullmatch(value):
        raise PydanticCustomError("cursor", _NOT_A_CURSOR)
    return value


#: A cursor from a client, still encrypted.
CursorText = Annotated[str, AfterValidator(_cursor_text)]


def read_cursor(text: str | None, cursors: CursorCipher, *, owner: str | None, query: str) -> Cursor | None:
    """Decrypt a cursor for the list of `owner` (None: of all) with the filter `query`. Returns None without a cursor.

    Raises Problem with 400 for a cursor that was made up or belongs to another list.
    """
    if text is None:
        return None
    cursor = cursors.decrypt(text, owner=owner, query=query)
    if cursor is None:
        raise invalid([Detail("InvalidValue", _NOT_A_CURSOR, "cursor")])
    return cursor


def _states(value: str) -> tuple[State, ...]:
    names = value.split(",")
    if not set(names) <= set(State):
        raise PydanticCustomError("states", "must be one or several of {known}", {"known": ", ".join(State)})
    return tuple(state for state in State if state in names)


def _message_id(value: str) -> str:
    if not _MESSAGE_ID.fullmatch(value):
        raise PydanticCustomError("message", "must be the webhook-id of a callback, like msg_…")
    return value


#: The form of the ids of messages, of this version and of former ones.
_MESSAGE_ID = re.compile(r"msg_[a-zA-Z0-9_-]{1,60}", re.ASCII)

#: One or several states, separated by commas, in the order of the enum.
States = Annotated[
    tuple[State, ...],
    BeforeValidator(_states),
    Field(json_schema_extra={"type": "array", "minItems": 1, "items": {"enum": [*State]}}),
]

#: The id of a message.
MessageId = Annotated[
    str, AfterValidator(_message_id), Field(json_schema_extra={"pattern": f"^{_MESSAGE_ID.pattern}$"})
]


class NoParameters(RequestModel):
    """The parameters of a call without parameters."""


class ListParameters(NoParameters):
    """The parameters of `GET /api/registrations`."""

    state: Annotated[
        States | None, Field(description="Only those in this state, or in one of several, separated by commas.")
    ] = None
    operationId: Annotated[OperationId | None, Field(description="All of this operation, on one page.")] = None
    jobId: Annotated[
        OperationId | None, Field(description="All of this job, on one page. Not together with `operationId`.")
    ] = None
    messageId: Annotated[MessageId | None, Field(description="The one with this `webhook-id`.")] = None
    host: Annotated[
        Host | None,
        Field(description="Only those whose callbacks go to this host; without a port, to any port of the host."),
    ] = None
    group: Annotated[Group | None, Field(description="Only those of this group.")] = None
    outcome: Annotated[
        Outcome | None,
        Field(description="Only those whose `lastAttempt` has this status, class of statuses or kind of failure."),
    ] = None
    since: Annotated[Instant | None, Field(description="Only those whose `since` is this time or later.")] = None
    until: Annotated[Instant | None, Field(description="Only those whose `since` is before this time.")] = None
    limit: Annotated[
        int, Field(ge=1, le=MAX_LIMIT, description="The most entries of a page."), BeforeValidator(_number)
    ] = DEFAULT_LIMIT
    cursor: Annotated[CursorText | None, Field(description="The start of the page, from `nextLink`.")] = None


_TRUTH = {"true": True, "false": False}


def _truth(value: str) -> bool:
    if value not in _TRUTH:
        raise PydanticCustomError("truth", "must be true or false")
    return _TRUTH[value]


class CancelParameters(NoParameters):
    """The parameters of `DELETE /api/registrations/{id}`."""

    purge: Annotated[
        bool,
        Field(description="Whether to remove a registration that has ended, with its message and its attempts."),
        BeforeValidator(_truth),
    ] = False


class OperationParameters(NoParameters):
    """The parameters of `GET /api/operations/{id}` and `GET /api/jobs/{id}`."""

    source: Annotated[SourceName, Field(description="The name of the Speech endpoint.")] = DEFAULT_SOURCE


class SecretParameters(NoParameters):
    """The parameters of `GET /api/signing-secret`."""

    callbackUrl: Annotated[WrittenUrl, Field(description="Any callback URL of the origin.")]


_Filter = Annotated[str | None, Field(description="A filter of the list, like that of `GET /api/registrations`.")]


class PageParameters(NoParameters):
    """The parameters of `GET /api/dashboard`: a view. The page's script reads them, and the bridge does not."""

    state: _Filter = None
    operationId: _Filter = None
    jobId: _Filter = None
    messageId: _Filter = None
    host: _Filter = None
    outcome: _Filter = None
    group: _Filter = None
    since: _Filter = None
    until: _Filter = None
    cursor: Annotated[str | None, Field(description="The page of the list.")] = None


_Parameters = TypeVar("_Parameters", bound=NoParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """The parsed parameters of `GET /api/registrations`."""

    states: Sequence[State]
    #: The id of the one operation or job whose registrations are listed, with its kind.
    about: tuple[str, Kind] | None
    message_id: str | None
    where: EntryFilter
    limit: int
    #: Unchanged from the client.
    cursor: str | None

    def matches(self, entry: IndexEntry) -> bool:
        """Return whether an entry meets all conditions."""
        is_named = self.message_id in (None, entry.message_id)
        return is_named and entry.state in self.states and self.where.matches(entry)

    @property
    def parameters(self) -> Mapping[str, str]:
        """The conditions as parameters of a URL."""
        where = self.where
        given = {
            "state": ",".join(self.states) if len(self.states) < len(State) else None,
            "messageId": self.message_id,
            "host": where.host,
            "group": where.group,
            "outcome": where.outcome,
            "since": None if where.since is None else where.since.isoformat(),
            "until": None if where.until is None else where.until.isoformat(),
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def filter(self) -> str:
        """The binding of this list's cursors, in addition to the owner."""
        conditions = {name: value for name, value in self.parameters.items() if name != "state"}
        return f"list {' '.join(self.states)} {urlencode(conditions)}".rstrip()


def read_list_query(request: func.HttpRequest) -> ListQuery:
    """Parse the parameters of a list.

    Raises Problem with 400, naming all invalid parameters.
    """
    given = _read(ListParameters, request)
    if given.operationId is not None and given.jobId is not None:
        raise invalid([Detail("InvalidValue", "cannot be sent with operationId", "jobId")])
    named = ((given.operationId, Kind.OPERATION), (given.jobId, Kind.JOB))
    return ListQuery(
        states=tuple(State) if given.state is None else given.state,
        about=next(((id_, kind) for id_, kind in named if id_ is not None), None),
        message_id=given.messageId,
        where=EntryFilter(
            host=given.host, since=given.since, until=given.until, outcome=given.outcome, group=given.group
        ),
        limit=given.limit,
        cursor=given.cursor,
    )


def read_purge(request: func.HttpRequest) -> bool:
    """Return whether a registration is to be removed instead of canceled.

    Raises Problem with 400.
    """
    return _read(CancelParameters, request).purge


def read_source(request: func.HttpRequest, context: ValidationContext) -> str:
    """Return the source of an operation.

    Raises Problem with 400.
    """
    return _read(OperationParameters, request, context).source


def read_callback_url(request: func.HttpRequest, context: ValidationContext) -> str:
    """Return the normalised callback URL, like in a registration.

    Raises Problem with 400.
    """
    return _read(SecretParameters, request, context).callbackUrl


def refuse_parameters(request: func.HttpRequest) -> None:
    """Refuse all parameters for a call without parameters: every route refuses unknown parameters.

    Raises Problem with 400, naming each parameter.
    """
    _read(NoParameters, request)


def _read(model: type[_Parameters], request: func.HttpRequest, context: ValidationContext | None = None) -> _Parameters:
    given = {name: value for name, value in _query(request).items() if name.lower() not in _IGNORED}
    return model.read(given, context)


def _query(request: func.HttpRequest) -> dict[str, str]:
    """Parse the query of the URL: the platform omits parameters without a value from `params`.

    Repeated values of a parameter are joined by commas, like the platform does.
    """
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.url.partition("?")[2], keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    return query
