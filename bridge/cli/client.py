"""The client of the bridge's API. Address and key come from the environment, which process lists do not show."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qs, quote, urlsplit

import requests
from requests import PreparedRequest
from requests.auth import AuthBase

from bridge import __version__, diagnostics
from bridge.cli.context import PROGRAM
from bridge.cli.errors import BridgeUnreachable, Refused, UsageError
from bridge.domain.callback_url import without_query
from bridge.domain.custom_headers import NAME, VALUE
from bridge.domain.text import printable

Json = dict[str, Any]

URL, KEY, TOKEN = "BRIDGE_URL", "BRIDGE_KEY", "BRIDGE_TOKEN"

#: The most registrations of a page of the API.
MAX_PAGE = 100

#: Time limits of connecting and answering, in seconds: a ping can take 15 s, a redelivery of many longer.
_TIMEOUTS = (10, 90)
_LONGEST = 300
#: Exceptions of `requests` before any byte is sent: the request cannot be encoded.
_NEVER_SENT = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidJSONError,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)
_WRONG_ADDRESS = f"there is no bridge at this address: set {URL} to the address of the function app, without a path"


def header_secret(environment: Mapping[str, str], name: str) -> str | None:
    """Read a variable for a header's value, without surrounding white space. Returns None if it is empty or missing.

    Raises UsageError, which names the variable and never shows the value.
    """
    value = environment.get(name, "").strip()
    if VALUE.fullmatch(value) is None:
        raise UsageError(f"{name} has a line break or another character that a header cannot carry: set it again")
    return value or None


def is_this_machine(host: str) -> bool:
    """Return whether a host is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def past_proxies(host: str) -> dict[str, str]:
    """Return the `proxies` argument of `requests` for a host: no proxy for this machine.

    A proxy of HTTP_PROXY would read a request to this machine, and its key, unencrypted.
    """
    return {"no_proxy": host} if is_this_machine(host) else {}


class _Fields(dict[str, Any]):
    """A JSON object of an answer. A missing field means another version of the bridge, not a bug here."""

    def __missing__(self, name: str) -> NoReturn:
        raise other_version(f"the answer lacks {name!r}")


def other_version(why: str) -> Refused:
    """Return the error for an answer that this command line cannot read."""
    return Refused(f"the service at {URL} is not this version of the bridge", why, status=0, code="OtherVersion")


class _Credentials(AuthBase):
    """Authorises requests. As the session's `auth` it also disables `.netrc`, and must be truthy to do so."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        key, token = header_secret(environment, KEY), header_secret(environment, TOKEN)
        self._headers = ({"x-functions-key": key} if key else {}) | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )

    @property
    def are_there(self) -> bool:
        """Whether there is a key or a token to keep secret."""
        return bool(self._headers)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers.update(self._headers)
        return request


def parse_date(text: str | None) -> datetime | None:
    """Parse the `Date` of an answer (RFC 9110, 6.6.1). Returns None without a valid one."""
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class Api:
    """The bridge's HTTP API."""

    def __init__(self, url: str, credentials: AuthBase) -> None:
        self.url = url
        self._proxies = past_proxies(urlsplit(url).hostname or "")
        self._session = requests.Session()
        self._session.auth = credentials
        self._session.headers["User-Agent"] = f"{PROGRAM}/{__version__}"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Api":
        """Create a client from `BRIDGE_URL`, `BRIDGE_KEY` and `BRIDGE_TOKEN`.

        Raises UsageError if there is no valid address, or if a key would be sent unencrypted over a network.
        """
        given = environment.get(URL, "").strip()
        if not given:
            raise UsageError(f"{URL} is not set: export {URL}=http://127.0.0.1:7071 for the local start")
        try:
            parts = urlsplit(given)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise UsageError(f"{URL} is not an address: write https://name.azurewebsites.net")
        if "@" in parts.netloc:
            raise UsageError(f"{URL} contains a password: use {KEY} or {TOKEN}")
        credentials = _Credentials(environment)
        if credentials.are_there and parts.scheme == "http" and not is_this_machine(host):
            raise UsageError(f"{URL} is http, which would send {KEY} or {TOKEN} unencrypted: use https")
        path = parts.path.rstrip("/").removesuffix("/api")
        return cls(f"{parts.scheme}://{parts.netloc}{path}", credentials)

    def get(self, path: str, **parameters: object) -> Json:
        """Send a GET request. Parameters that are None are left out."""
        asked = {name: str(each) for name, each in parameters.items() if each is not None}
        return self.call("GET", path, parameters=asked)

    def post(self, path: str, body: Json | None = None) -> Json:
        """Send a POST request. Fields that are None are left out."""
        sent = None if body is None else {name: each for name, each in body.items() if each is not None}
        return self.call("POST", path, body=sent)

    def delete(self, path: str, **parameters: str) -> None:
        """Send a DELETE request."""
        self.call("DELETE", path, parameters=parameters)

    def pages(self, *, limit: int | None, **parameters: object) -> Iterator[Json]:
        """Read a list of registrations page by page, up to `limit` entries. None reads all pages."""
        left = limit
        while True:
            size = MAX_PAGE if left is None else min(left, MAX_PAGE)
            page = self.get("registrations", limit=size, **parameters)
            yield page
            left = None if left is None else left - len(page["value"])
            if not page["nextLink"] or left == 0:
                return
            asked = parse_qs(urlsplit(page["nextLink"]).query)
            parameters |= {name: values[0] for name, values in asked.items() if name != "limit"}

    def call(
        self, method: str, path: str, *, parameters: Mapping[str, str] | None = None, body: Json | None = None
    ) -> Json:
        """Make one call. Returns the JSON object of the answer, with `?…` for the queries of callback URLs.

        A query can contain a secret, and the output of a command ends up in scrollbacks and build logs. Raises
        BridgeUnreachable and Refused.
        """
        answer = self.answer(method, path, parameters=parameters, body=body)
        if not answer.ok or answer.is_redirect:
            raise _refusal(answer)
        if not answer.content:
            return {}
        read = _object(answer)
        if read is None:
            raise Refused("the answer is not JSON", _WRONG_ADDRESS, status=answer.status_code, code="NoJson")
        _hide_queries(read)
        return read

    def answer(
        self, method: str, path: str, *, parameters: Mapping[str, str] | None = None, body: Json | None = None
    ) -> requests.Response:
        """Make one call and return any answer. Redirects are not followed, since they would forward the key.

        Raises BridgeUnreachable, and UsageError for a request that cannot be encoded.
        """
        url = f"{self.url}/api/{'/'.join(quote(part, safe='~') for part in path.split('/'))}"
        try:
            return self._session.request(
                method,
                url,
                params=dict(parameters or {}),
                json=body,
                timeout=_TIMEOUTS,
                allow_redirects=False,
                proxies=self._proxies,
            )
        except (*_NEVER_SENT, UnicodeError) as error:
            what = f"the request cannot be sent ({type(error).__name__})"
            raise UsageError(what, f"check the arguments and {URL}") from None
        except requests.RequestException as error:
            what = f"{self.url} does not answer ({type(error).__name__})"
            raise BridgeUnreachable(what, f"check that it runs, and {URL}") from error


def _hide_queries(shown: object) -> None:
    """Replace the query of each callback URL in an answer by `?…`. The client's own `metadata` stays unchanged."""
    match shown:
        case list():
            for each in shown:
                _hide_queries(each)
        case dict():
            for name, value in shown.items():
                if name == "callbackUrl" and isinstance(value, str):
                    shown[name] = without_query(value)
                elif name != "metadata":
                    _hide_queries(value)
        case _:
            pass


def _refusal(answer: requests.Response) -> Refused:
    """Return one line with the bridge's reason and the remedy."""
    error = (_object(answer) or {}).get("error")
    status = answer.status_code
    if not isinstance(error, dict):
        return Refused(f"HTTP {status}", _of_the_host(answer), status=status, code=f"HTTP {status}")
    details = tuple((str(each.get("target")), str(each.get("message"))) for each in error.get("details") or ())
    said = "; ".join(f"{target} {message}" for target, message in details) or str(error.get("message"))
    code, do = str(error.get("code")), printable(said, _LONGEST * 4) + _advice(answer, error)
    return Refused(code, do, status=status, code=code, details=details)


def _advice(answer: requests.Response, error: Json) -> str:
    """Return advice that only the command line can give, such as the next command."""
    if any(each.get("code") == "DestinationNotAllowed" for each in error.get("details") or ()):
        return f"; {diagnostics.FAILURES['refused-by-rules'].do}"
    if error.get("code") == "RegistrationDiffers":
        return "; cancel it first"
    if error.get("code") == "NotFound":
        return f" `{PROGRAM} list` shows the existing ones."
    wait = answer.headers.get("Retry-After", "")
    return f" Try again in {wait} s." if wait.isdigit() else ""


def _of_the_host(answer: requests.Response) -> str:
    """Explain an answer of the Functions host or of another server, which lacks the bridge's error body."""
    status = answer.status_code
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"set {KEY} to a function key of the app, or {TOKEN} to a token for the app"
    if answer.is_redirect:
        return f"it redirects to {printable(answer.headers['Location'], _LONGEST)}; set {URL} to that"
    if status == HTTPStatus.NOT_FOUND:
        return _WRONG_ADDRESS
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        why = "the platform answered, not the bridge: an instance ended or was not ready"
        return f"{why}. Run the command again; a ping is then sent twice"
    return "it gives no reason: read the log of the function app"


def _object(answer: requests.Response) -> Json | None:
    try:
        read = answer.json(object_hook=_Fields)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


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
