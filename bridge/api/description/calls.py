"""Every call of the API for the description: what it takes, what it answers with which links, and what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from bridge.api import responses
from bridge.api.http_response import PAGE_HEADERS
from bridge.api.query import ListParameters, NoParameters, OperationParameters, SecretParameters
from bridge.api.requests import PingBody, RedeliverBody, RegistrationBody
from bridge.api.responses import Overview
from bridge.domain.ids import OPERATION_ID, PUBLIC_ID

Json = dict[str, Any]

#: What each code of a problem means.
CODES: Mapping[str, str] = MappingProxyType(
    {
        "InvalidRequest": "fields or parameters are wrong, and `details` names every one",
        "InvalidJson": "the body is no JSON object",
        "Unauthorized": "there is no token, or one that is not believed",
        "Forbidden": "the token lacks the role that this call needs",
        "NotFound": "there is no such thing, or it is another owner's",
        "RegistrationDiffers": "the callback is registered for this operation with other content",
        "HeadersUnreadable": "it is registered with headers whose key is missing, so they cannot be compared",
        "CallbackUrlUnreadable": "one is registered with a query whose key is missing, so the URLs cannot be compared",
        "OperationTaken": "another owner has registered for the operation: `BRIDGE_SHARED_OPERATIONS` is false",
        "TooManyRegistrations": "the operation has as many registrations as one can have, or as one owner can",
        "NoMessageYet": "there is no message to deliver again",
        "LengthRequired": "the body came in chunks, which the platform loses: send a `Content-Length`",
        "PayloadTooLarge": "the body is too large",
        "UnsupportedMediaType": "the body is not `application/json` in UTF-8, or has a `Content-Encoding`",
        "TooManyPings": "the minute has no ping left",
        "TooManyRuns": "the hour has no further run of this registration left",
        "TooManyWaiting": "as many of the caller's registrations wait as may: `BRIDGE_MAX_WAITING_PER_OWNER`",
        "InternalError": "the bridge failed",
        "StorageUnavailable": "storage does not answer; nothing is lost, send the same again",
        "StorageRefused": "storage refuses the bridge, which an operator has to mend; nothing is lost",
        "TooBusy": "as many lists and overviews are read as an instance reads at once; send the same again",
        "Contended": "others changed the same rows again and again; nothing is lost, send the same again",
        "UnreadableRow": "a row is of another version of the bridge, and is left to it",
        "KeysUnavailable": "the keys that tokens are verified with are not to be had",
        "Misconfigured": "settings are missing or wrong",
    }
)

#: The headers of answers.
HEADERS: Mapping[str, Json] = MappingProxyType(
    {
        "Location": {
            "description": "Where the registration is.",
            "schema": {"type": "string", "format": "uri-reference"},
        },
        "Cache-Control": {"description": "Who may keep the answer, and for how long.", "schema": {"type": "string"}},
        "ETag": {"description": "Names this very answer, for `If-None-Match`.", "schema": {"type": "string"}},
        "Accept-Encoding": {"description": "The codings of a body that are taken.", "schema": {"const": "identity"}},
        "Vary": {"description": "The answer may be compressed.", "schema": {"const": "Accept-Encoding"}},
        "Content-Security-Policy": {
            "description": "What may run in the page: its own style and script.",
            "schema": {"type": "string"},
        },
        "X-Content-Type-Options": {"description": "It is what it says.", "schema": {"const": "nosniff"}},
        "Referrer-Policy": {"description": "No link tells where it was.", "schema": {"const": "no-referrer"}},
        "Cross-Origin-Opener-Policy": {"description": "No other page holds it.", "schema": {"const": "same-origin"}},
        "WWW-Authenticate": {"description": "What the token lacks (RFC 6750).", "schema": {"type": "string"}},
        "Retry-After": {
            "description": "Seconds after which it may be tried again.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
)


@dataclass(frozen=True, slots=True)
class Link:
    """Where an answer leads: which call it gives the parameters of."""

    call: str
    parameters: Mapping[str, str]
    what: str

    @classmethod
    def of_registration(cls) -> "Mapping[str, Link]":
        """Lead from a registration to its operation, to the secret of its receiver, and to what can be done with it."""
        return {
            **cls.of_first(""),
            "secret": cls("signing_secret", {"callbackUrl": "$response.body#/callbackUrl"}, "What its receiver needs."),
            "operation": cls(
                "read_operation",
                {"path.id": "$response.body#/operation/id", "query.source": "$response.body#/operation/source"},
                "Its operation.",
            ),
        }

    @classmethod
    def of_first(cls, place: str) -> "Mapping[str, Link]":
        """Lead from a registration at a place of the answer to what can be done with it."""
        parameters = {"path.id": f"$response.body#{place}/id"}
        return {
            "read": cls("read_registration", parameters, "The registration."),
            "cancel": cls("cancel_registration", parameters, "Cancel it."),
            "redeliver": cls("redeliver", parameters, "Deliver it again."),
        }


@dataclass(frozen=True, slots=True)
class DescribedResponse:
    """One success of a call."""

    what: str
    #: What its body is; None where it has none.
    body: Any = None
    headers: tuple[str, ...] = ("Cache-Control",)
    media: str = "application/json"
    links: Mapping[str, Link] = field(default_factory=dict)

    @classmethod
    def kept(cls, what: str, body: object, call: str) -> "Mapping[int, DescribedResponse]":
        """Make the answers of a call whose body others may keep: with its ETag the call is 304."""
        headers = ("Cache-Control", "ETag", "Vary")
        again = Link(call, {"header.If-None-Match": "$response.header.ETag"}, "Whether it has changed.")
        return {200: cls(what, body, headers, links={"again": again}), 304: cls("It has not changed.", None, headers)}


#: What is refused of any body.
_OF_BODIES = {
    400: ("InvalidRequest", "InvalidJson"),
    411: ("LengthRequired",),
    413: ("PayloadTooLarge",),
    415: ("UnsupportedMediaType",),
}
#: What every call refuses of its parameters.
_OF_PARAMETERS = {400: ("InvalidRequest",)}
_OF_IDS = {**_OF_PARAMETERS, 404: ("NotFound",)}
_KEPT = {"If-None-Match": "The `ETag` of an answer that is still at hand."}
_OF_PAGES = ("Cache-Control", "ETag", "Vary", "Content-Security-Policy", *PAGE_HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call."""

    #: The name of its function.
    name: str
    method: str
    path: str
    summary: str
    #: What it is about.
    tag: str
    #: What the `{id}` of the path looks like, where there is one.
    id_pattern: str | None = None
    #: What the query may say.
    parameters: type[NoParameters] = NoParameters
    body: type[BaseModel] | None = None
    answers: Mapping[int, DescribedResponse]
    #: The codes of what it refuses, by status.
    refuses: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    #: What headers may say, beside those of every call.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether anybody may call it.
    is_open: bool = False
    #: Whether storage has a part in it.
    is_stored: bool = True

    @property
    def operation_id(self) -> str:
        """The operationId, which is unique: a function that also takes HEAD has two calls."""
        return f"{self.name}_head" if self.method == "head" else self.name


CALLS = (
    Call(
        name="register",
        method="post",
        path="/registrations",
        summary="Register a callback for an operation",
        tag="Registrations",
        headers={"traceparent": "Your trace (W3C Trace Context, version 00): the callback has the same."},
        body=RegistrationBody,
        answers={
            201: DescribedResponse(
                "It is new.", responses.Registered, ("Cache-Control", "Location"), links=Link.of_registration()
            ),
            200: DescribedResponse(
                "The same was registered before; nothing changed.", responses.Registered, links=Link.of_registration()
            ),
        },
        refuses={
            **_OF_BODIES,
            409: (
                "RegistrationDiffers",
                "HeadersUnreadable",
                "CallbackUrlUnreadable",
                "OperationTaken",
                "TooManyRegistrations",
            ),
            429: ("TooManyRuns", "TooManyWaiting"),
        },
    ),
    Call(
        name="list_registrations",
        method="get",
        path="/registrations",
        summary="List registrations, newest first by when they came into their state",
        tag="Registrations",
        parameters=ListParameters,
        answers={200: DescribedResponse("A page.", responses.PageResponse)},
        refuses=_OF_PARAMETERS,
    ),
    Call(
        name="read_registration",
        method="get",
        path="/registrations/{id}",
        summary="Show a registration, its operation and its attempts",
        tag="Registrations",
        id_pattern=PUBLIC_ID.pattern,
        answers={
            200: DescribedResponse("The registration.", responses.RegistrationResponse, links=Link.of_registration())
        },
        refuses=_OF_IDS,
    ),
    Call(
        name="cancel_registration",
        method="delete",
        path="/registrations/{id}",
        summary="Cancel a registration: no further attempt is begun, one in flight may still arrive",
        tag="Registrations",
        id_pattern=PUBLIC_ID.pattern,
        answers={
            204: DescribedResponse("It is canceled, or had ended before. Its operation is free for other owners.")
        },
        refuses=_OF_IDS,
    ),
    Call(
        name="redeliver",
        method="post",
        path="/registrations/{id}/redeliver",
        summary="Deliver the same message again, with a whole run of attempts",
        tag="Registrations",
        id_pattern=PUBLIC_ID.pattern,
        answers={
            202: DescribedResponse("It is on its way.", responses.RegistrationResponse, links=Link.of_registration())
        },
        refuses={**_OF_IDS, 409: ("NoMessageYet", "OperationTaken"), 429: ("TooManyRuns",)},
    ),
    Call(
        name="redeliver_many",
        method="post",
        path="/redeliver",
        summary="Deliver again what is dead, after an outage at the receiver's",
        tag="Registrations",
        body=RedeliverBody,
        answers={202: DescribedResponse("These are on their way.", responses.RedeliveryResponse)},
        refuses=_OF_BODIES,
    ),
    Call(
        name="ping",
        method="post",
        path="/callbacks/ping",
        summary="Send a signed ping now, and say what came back",
        tag="Receivers",
        body=PingBody,
        answers={200: DescribedResponse("It was sent, whatever came back.", responses.PingResponse)},
        refuses={**_OF_BODIES, 429: ("TooManyPings",)},
    ),
    Call(
        name="read_operation",
        method="get",
        path="/operations/{id}",
        summary="Show what is known of an operation, with its registrations",
        tag="Operations",
        id_pattern=OPERATION_ID.pattern,
        parameters=OperationParameters,
        answers={
            200: DescribedResponse(
                "The operation.", responses.OperationWithRegistrations, links=Link.of_first("/registrations/0")
            )
        },
        refuses=_OF_IDS,
    ),
    Call(
        name="status",
        method="get",
        path="/status",
        summary="Show how the bridge is",
        tag="Operations",
        answers={200: DescribedResponse("How it is.", responses.StatusResponse)},
        refuses=_OF_PARAMETERS,
    ),
    Call(
        name="overview",
        method="get",
        path="/overview",
        summary="Show the last 24 hours, and the schedule that was learnt",
        tag="Operations",
        answers={200: DescribedResponse("The caller's day.", Overview)},
        refuses=_OF_PARAMETERS,
    ),
    Call(
        name="signing_secret",
        method="get",
        path="/signing-secret",
        summary="Show the secret that callbacks to an origin are verified with",
        tag="Receivers",
        parameters=SecretParameters,
        answers={200: DescribedResponse("The secret.", responses.SigningSecret)},
        refuses=_OF_PARAMETERS,
        is_stored=False,
    ),
    Call(
        name="signing_keys",
        method="get",
        path="/signing-keys",
        summary="Show the public keys that everybody verifies callbacks with",
        tag="Receivers",
        headers=_KEPT,
        answers=DescribedResponse.kept("The keys.", responses.PublicKeys, "signing_keys"),
        refuses=_OF_PARAMETERS,
        is_open=True,
        is_stored=False,
    ),
    Call(
        name="describe",
        method="get",
        path="/openapi.json",
        summary="Show this description",
        tag="The bridge",
        headers=_KEPT,
        answers=DescribedResponse.kept("The description.", dict[str, Any], "describe"),
        refuses=_OF_PARAMETERS,
        is_open=True,
        is_stored=False,
    ),
    Call(
        name="dashboard",
        method="get",
        path="/dashboard",
        summary="Serve the page that shows what the bridge is doing",
        tag="The bridge",
        headers=_KEPT,
        answers={
            200: DescribedResponse("The page.", str, _OF_PAGES, "text/html"),
            304: DescribedResponse("It has not changed.", None, _OF_PAGES),
        },
        refuses=_OF_PARAMETERS,
        is_open=True,
        is_stored=False,
    ),
    Call(
        name="health",
        method="get",
        path="/health",
        summary="Say whether the app is alive",
        tag="The bridge",
        refuses=_OF_PARAMETERS,
        answers={
            200: DescribedResponse("It is.", responses.HealthResponse),
            503: DescribedResponse("Its settings are missing or wrong.", responses.HealthResponse),
        },
        is_open=True,
        is_stored=False,
    ),
    Call(
        name="health",
        method="head",
        path="/health",
        summary="Say by the status alone whether the app is alive",
        tag="The bridge",
        refuses=_OF_PARAMETERS,
        answers={200: DescribedResponse("It is."), 503: DescribedResponse("Its settings are missing or wrong.")},
        is_open=True,
        is_stored=False,
    ),
)
