"""The routes of the API, in one table: path, method, level, handler and error codes of each.

The HTTP functions, their authentication levels and the OpenAPI description are derived from the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import azure.functions as func
from pydantic import BaseModel

from bridge.api import responses
from bridge.api.errors import ErrorCode
from bridge.api.handlers import Handlers, health
from bridge.api.http_response import PAGE_HEADERS
from bridge.api.query import (
    CancelParameters,
    ListParameters,
    NoParameters,
    OperationParameters,
    PageParameters,
    SecretParameters,
)
from bridge.api.requests import PingBody, RedeliverBody, RegistrationBody
from bridge.domain.ids import OPERATION_ID, PUBLIC_ID
from bridge.domain.principal import Principal

#: Answers the requests of one route.
Handler = Callable[[Handlers, func.HttpRequest, Principal], func.HttpResponse]

#: Answers without the use cases, so that it works without settings, too. The flag is whether they are valid.
HealthHandler = Callable[[func.HttpRequest, bool], func.HttpResponse]

HandlerT = TypeVar("HandlerT", bound=Callable[..., func.HttpResponse])


class Tag(StrEnum):
    """The subject of a route."""

    REGISTRATIONS = "Registrations"
    OPERATIONS = "Operations"
    RECEIVERS = "Receivers"
    BRIDGE = "The bridge"


@dataclass(frozen=True, slots=True)
class Success:
    """A successful response."""

    description: str
    #: The model of the body: `str` for a page, None if there is no body.
    model: type[Any] | None = None
    #: The headers, in addition to `Cache-Control`.
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route(Generic[HandlerT]):
    """A path with its methods. The name of the handler is the name of the function and the operationId."""

    methods: tuple[str, ...]
    #: Without the prefix `/api/`.
    path: str
    #: The first line of its docstring is the summary of the operation, the rest is the description.
    handler: HandlerT
    tag: Tag
    responses: Mapping[HTTPStatus, Success] = field(kw_only=True)
    #: The pattern of the `{id}` in the path.
    id_pattern: str | None = None
    #: The model of the query.
    parameters: type[NoParameters] = NoParameters
    #: The request headers that the handler reads, beside those of all routes.
    headers: Mapping[str, str] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    #: The codes beside those that follow from the other fields: see `openapi.py`.
    errors: tuple[ErrorCode, ...] = ()
    #: Whether the route needs neither a function key nor a token.
    is_open: bool = False
    #: Whether the handler reads or writes rows.
    uses_storage: bool = True
    #: Whether the handler reads many rows, so that an instance limits its concurrent requests.
    reads_many_rows: bool = False

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.handler.__name__


GET, POST, DELETE = ("GET",), ("POST",), ("DELETE",)

_IF_NONE_MATCH = {"If-None-Match": "The `ETag` of an earlier answer."}


def _cacheable(description: str, model: type[Any], *headers: str) -> Mapping[HTTPStatus, Success]:
    """Describe a response that clients may keep, and the response to clients that have it."""
    return {
        HTTPStatus.OK: Success(description, model, ("ETag", "Vary", *headers)),
        HTTPStatus.NOT_MODIFIED: Success("The answer has not changed.", None, ("ETag", "Vary", *headers)),
    }


ROUTES: tuple[Route[Handler], ...] = (
    Route(
        POST,
        "registrations",
        Handlers.register,
        Tag.REGISTRATIONS,
        headers={"traceparent": "Your trace (W3C Trace Context, version 00): the callback has the same."},
        body=RegistrationBody,
        responses={
            HTTPStatus.CREATED: Success("The registration is new.", responses.Registered, ("Location",)),
            HTTPStatus.OK: Success("The same registration exists; nothing changed.", responses.Registered),
        },
        errors=(
            ErrorCode.REGISTRATION_DIFFERS,
            ErrorCode.HEADERS_UNREADABLE,
            ErrorCode.CALLBACK_URL_UNREADABLE,
            ErrorCode.OPERATION_TAKEN,
            ErrorCode.TOO_MANY_REGISTRATIONS,
            ErrorCode.TOO_MANY_RUNS,
            ErrorCode.TOO_MANY_WAITING,
        ),
    ),
    Route(
        GET,
        "registrations",
        Handlers.list_registrations,
        Tag.REGISTRATIONS,
        parameters=ListParameters,
        responses={HTTPStatus.OK: Success("A page.", responses.PageResponse)},
        reads_many_rows=True,
    ),
    Route(
        GET,
        "registrations/{id}",
        Handlers.read_registration,
        Tag.REGISTRATIONS,
        id_pattern=PUBLIC_ID.pattern,
        responses={HTTPStatus.OK: Success("The registration.", responses.RegistrationResponse)},
    ),
    Route(
        GET,
        "registrations/{id}/message",
        Handlers.read_message,
        Tag.REGISTRATIONS,
        id_pattern=PUBLIC_ID.pattern,
        responses={HTTPStatus.OK: Success("The message.", responses.MessageResponse)},
        errors=(ErrorCode.NO_MESSAGE_YET,),
    ),
    Route(
        DELETE,
        "registrations/{id}",
        Handlers.cancel_registration,
        Tag.REGISTRATIONS,
        id_pattern=PUBLIC_ID.pattern,
        parameters=CancelParameters,
        responses={
            HTTPStatus.NO_CONTENT: Success(
                "The registration is canceled, had ended before, or is removed. Its operation is free for other owners."
            )
        },
        errors=(ErrorCode.NOT_ENDED,),
    ),
    Route(
        POST,
        "registrations/{id}/redeliver",
        Handlers.redeliver,
        Tag.REGISTRATIONS,
        id_pattern=PUBLIC_ID.pattern,
        responses={HTTPStatus.ACCEPTED: Success("The delivery is on its way.", responses.RegistrationResponse)},
        errors=(ErrorCode.OPERATION_TAKEN, ErrorCode.NO_MESSAGE_YET, ErrorCode.TOO_MANY_RUNS),
    ),
    Route(
        POST,
        "redeliver",
        Handlers.redeliver_many,
        Tag.REGISTRATIONS,
        body=RedeliverBody,
        responses={
            HTTPStatus.ACCEPTED: Success("These are on their way.", responses.RedeliveryResponse),
            HTTPStatus.OK: Success("A dry run: these would be.", responses.RedeliveryPreview),
        },
        reads_many_rows=True,
    ),
    Route(
        POST,
        "callbacks/ping",
        Handlers.ping,
        Tag.RECEIVERS,
        body=PingBody,
        responses={HTTPStatus.OK: Success("The ping was sent, with any outcome.", responses.PingResponse)},
        errors=(ErrorCode.TOO_MANY_PINGS,),
    ),
    Route(
        GET,
        "operations/{id}",
        Handlers.read_operation,
        Tag.OPERATIONS,
        id_pattern=OPERATION_ID.pattern,
        parameters=OperationParameters,
        responses={HTTPStatus.OK: Success("The operation.", responses.OperationWithRegistrations)},
    ),
    Route(
        GET,
        "jobs/{id}",
        Handlers.read_job,
        Tag.OPERATIONS,
        id_pattern=OPERATION_ID.pattern,
        parameters=OperationParameters,
        responses={HTTPStatus.OK: Success("The job.", responses.JobWithRegistrations)},
    ),
    Route(
        GET,
        "status",
        Handlers.status,
        Tag.OPERATIONS,
        responses={HTTPStatus.OK: Success("The status.", responses.StatusResponse)},
        reads_many_rows=True,
    ),
    Route(
        GET,
        "overview",
        Handlers.overview,
        Tag.OPERATIONS,
        responses={HTTPStatus.OK: Success("The caller's day.", responses.OverviewResponse)},
        reads_many_rows=True,
    ),
    Route(
        GET,
        "signing-secret",
        Handlers.signing_secret,
        Tag.RECEIVERS,
        parameters=SecretParameters,
        responses={HTTPStatus.OK: Success("The secret.", responses.SigningSecret)},
        uses_storage=False,
    ),
    Route(
        GET,
        "signing-keys",
        Handlers.signing_keys,
        Tag.RECEIVERS,
        headers=_IF_NONE_MATCH,
        responses=_cacheable("The keys.", responses.PublicKeys),
        is_open=True,
        uses_storage=False,
    ),
    Route(
        GET,
        "openapi.json",
        Handlers.describe,
        Tag.BRIDGE,
        headers=_IF_NONE_MATCH,
        responses=_cacheable("The description.", dict),
        is_open=True,
        uses_storage=False,
    ),
    Route(
        GET,
        "dashboard",
        Handlers.dashboard,
        Tag.BRIDGE,
        parameters=PageParameters,
        headers=_IF_NONE_MATCH,
        responses=_cacheable("The page.", str, "Content-Security-Policy", *PAGE_HEADERS),
        is_open=True,
        uses_storage=False,
    ),
)

HEALTH: Route[HealthHandler] = Route(
    (*GET, "HEAD"),
    "health",
    health,
    Tag.BRIDGE,
    responses={
        HTTPStatus.OK: Success("The app is alive.", responses.HealthResponse),
        HTTPStatus.SERVICE_UNAVAILABLE: Success("Settings are missing or wrong.", responses.HealthResponse),
    },
    is_open=True,
    uses_storage=False,
)

ALL_ROUTES: tuple[Route[Any], ...] = (*ROUTES, HEALTH)
