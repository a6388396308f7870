"""The settings, read once from the environment into one frozen object.

Three parts: the kinds of values, the further sources of `BRIDGE_SOURCES`, and the settings. All problems are reported
at once, by the name of the variable and without its value, which can be a secret.
"""

import base64
import binascii
import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from bridge.domain.callback_url import CallbackRefused, CallbackRules, Network, normalise_name
from bridge.domain.clouds import takes_keys_only, wrong_speech_endpoint
from bridge.domain.errors import Misconfigured
from bridge.domain.keyring import MIN_KEY_BYTES, Keyring, weakness_of
from bridge.domain.operation import MAX_REGISTRATIONS_OF_OWNER
from bridge.domain.poll_schedule import PollPlan
from bridge.domain.principal import Tenant
from bridge.domain.registration import Sharing
from bridge.domain.time import parse_duration
from bridge.domain.upstream import DEFAULT_SOURCE, Source

# The kinds of values. Each reader is a validator for pydantic. It raises ValueError with the remedy, never with the
# value.

MAKE_KEY = 'make one with: python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
_UNRESOLVED = "@Microsoft.KeyVault("
_SCHEDULE_FIELDS = 6
_MAX_PORT = 65535
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ANY_SUBDOMAIN = "*."


def _resolved(value: object) -> object:
    """Reject a Key Vault reference that did not resolve: the platform passes on the reference itself."""
    if isinstance(value, str) and value.startswith(_UNRESOLVED):
        raise ValueError("its Key Vault reference did not resolve: check the identity's access to the vault")
    return value


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    duration = parse_duration(str(value))
    if duration is None:
        raise ValueError("write a whole number with a unit: 45s, 15m, 24h or 30d")
    return duration


def _keys(value: object) -> object:
    if isinstance(_resolved(value), tuple):
        return value
    return tuple(dict.fromkeys(_key(part.strip()) for part in str(value).split(",")))


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"each key is base64; {MAKE_KEY}") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"each key has {MIN_KEY_BYTES} bytes or more; {MAKE_KEY}")
    weakness = weakness_of(key, text)
    if weakness is not None:
        raise ValueError(f"a key {weakness}; {MAKE_KEY}")
    return key


def _networks(value: object) -> object:
    if isinstance(value, tuple):
        return value
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in str(value).split(",") if part.strip())
    except ValueError:
        raise ValueError("write networks as 10.0.0.0/8, separated by commas") from None


def _ports(value: object) -> object:
    if value is None or isinstance(value, frozenset):
        return value
    if str(value).strip() == "*":
        return None
    parts = [part.strip() for part in str(value).split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= _MAX_PORT for part in parts):
        raise ValueError("write ports separated by commas, or * for every port")
    return frozenset(int(part) for part in parts)


def _hosts(value: object) -> object:
    if value is None or isinstance(value, frozenset):
        return value
    parts = [part.strip() for part in str(value).split(",") if part.strip()]
    try:
        hosts = frozenset(map(_allowed_host, parts))
    except CallbackRefused:
        hosts = frozenset()
    if not hosts:
        raise ValueError("write hosts separated by commas, each a name, an address or *.suffix")
    return hosts


def _allowed_host(text: str) -> str:
    name = text.removeprefix(_ANY_SUBDOMAIN)
    return text.removesuffix(name) + normalise_name(name)


def _url(value: object) -> str:
    text = str(_resolved(value)).strip().rstrip("/")
    if not _is_endpoint(text):
        raise ValueError("write it as https://name.example.com")
    return text


def _endpoint(value: object) -> str:
    text = _url(value)
    parts = urlsplit(text)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise ValueError("write it with https: http: would send keys and tokens unencrypted")
    return text


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _speech_endpoint(value: object) -> str:
    text = _endpoint(value)
    wrong = wrong_speech_endpoint(text)
    if wrong is not None:
        raise ValueError(wrong)
    return text


def _speech_endpoints(value: object) -> object:
    if isinstance(value, tuple):
        return value
    return tuple(dict.fromkeys(_speech_endpoint(part) for part in str(value).split(",") if part.strip()))


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_right = parts.port != 0  # an invalid port raises
    except ValueError:
        return False
    more = (parts.query, parts.fragment, "@" if "@" in parts.netloc else "")
    return port_is_right and parts.scheme in ("http", "https") and bool(parts.hostname) and not any(more)


def _authority(value: object) -> object:
    text = _url(value)
    parts = urlsplit(text)
    if parts.scheme != "https" and parts.hostname != "127.0.0.1":
        raise ValueError("write it as https://login.microsoftonline.com: an answer over http: cannot be trusted")
    return text


def _public_url(value: object) -> object:
    """Validate a URL like the command line validates `BRIDGE_URL`, with an optional `/api` at the end."""
    text = _url(value).removesuffix("/api").rstrip("/")
    parts = urlsplit(text)
    if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
        raise ValueError("write it as https://hooks.example.com: clients send their key there")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("has a character that a URL cannot have: copy it again")
    return text


def _tenant(value: object) -> object:
    text = str(value).strip().lower()
    if not _TENANT.fullmatch(text):
        raise ValueError("write the tenant's id, 8-4-4-4-12 hexadecimal digits, not its name")
    return text


def _audience(value: object) -> object:
    text = str(value).strip()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("write one audience: the client id of the bridge's app registration, or its api:// URI")
    return text


def _header(value: object) -> object:
    text = str(_resolved(value)).strip()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("has a character that a key cannot have: copy it again")
    return text


def _connection(value: object) -> object:
    """Strip a final semicolon, which .NET writes and Azure's Python libraries reject."""
    if isinstance(value, SecretStr):
        return value
    text = str(_resolved(value)).strip().rstrip(";").rstrip()
    key = re.search(r"(?:^|;)AccountKey=([^;]*)", text)
    try:
        base64.b64decode(key[1] if key else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("has an invalid AccountKey: copy the connection string again") from None
    return text


def _schedule(value: object) -> object:
    if len(str(value).split()) != _SCHEDULE_FIELDS:
        raise ValueError("write six fields, seconds first: */10 * * * * *")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(seconds=1))]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]
SpeechEndpoint = Annotated[str, BeforeValidator(_speech_endpoint)]
SpeechEndpoints = Annotated[tuple[str, ...], BeforeValidator(_speech_endpoints)]
PublicUrl = Annotated[str, BeforeValidator(_public_url)]
Authority = Annotated[str, BeforeValidator(_authority)]
TenantId = Annotated[str, BeforeValidator(_tenant)]
Audience = Annotated[str, BeforeValidator(_audience)]
HeaderSecret = Annotated[SecretStr, BeforeValidator(_header)]
ConnectionString = Annotated[SecretStr, BeforeValidator(_connection)]
SigningKeys = Annotated[tuple[bytes, ...], BeforeValidator(_keys), Field(repr=False)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
Hosts = Annotated[frozenset[str] | None, BeforeValidator(_hosts)]
Ports = Annotated[frozenset[int] | None, BeforeValidator(_ports)]
Schedule = Annotated[str, BeforeValidator(_schedule)]


# The further sources: `BRIDGE_SOURCES` is a JSON array of objects with the fields of `SourceEntry`.

#: The default api-version of each path (the public REST reference).
API_VERSIONS = {
    "avatar": "2024-08-01",
    "texttospeech": "2024-04-01",
    "customvoice": "2026-01-01",
    "videotranslation": "2026-03-01",
}

#: The paths with jobs, `GET /{path}/batchsyntheses/{id}`, which contain the reason of a failure.
EXPLAINED = frozenset({"avatar", "texttospeech"})


class SourceEntry(BaseModel):
    """One object of `BRIDGE_SOURCES`: a source in addition to `default`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    endpoint: SpeechEndpoint
    otherEndpoints: tuple[SpeechEndpoint, ...] = ()
    path: Literal["avatar", "texttospeech", "customvoice", "videotranslation"]
    apiVersion: Annotated[str, Field(min_length=1)] | None = None
    keyVariable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    requestsPerSecond: Annotated[float, Field(gt=0, le=100)] = 1.0

    def source(self) -> Source:
        """Convert to a source."""
        return Source(
            name=self.name,
            endpoint=self.endpoint,
            other_endpoints=self.otherEndpoints,
            path=self.path,
            api_version=self.apiVersion or API_VERSIONS[self.path],
            requests_per_second=self.requestsPerSecond,
        )


_ENTRIES = TypeAdapter(tuple[SourceEntry, ...])


def read_entries(value: object) -> object:
    """Parse the array, as a validator for pydantic. Raises ValueError with entry and field, but no value."""
    if isinstance(value, tuple):
        return value
    try:
        parsed = from_json(str(value))
    except ValueError:
        raise ValueError("write it as a JSON array of objects") from None
    try:
        entries = _ENTRIES.validate_python(parsed)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(each) for each in error.errors())) from None
    doubled = [name for name, number in Counter(each.name for each in entries).items() if number > 1]
    if doubled or any(each.name == DEFAULT_SOURCE for each in entries):
        raise ValueError("each name must be unique, and none may be `default`")
    return entries


def ambiguous(sources: Iterable[Source]) -> bool:
    """Return whether an `Operation-Location` could belong to two of `sources`."""
    places = Counter((endpoint, each.path) for each in sources for endpoint in {at.lower() for at in each.endpoints})
    return any(number > 1 for number in places.values())


def _message(error: ErrorDetails) -> str:
    """Return the problem: the text of a ValueError of a validator here, or the text of pydantic."""
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]


def _problem(error: ErrorDetails) -> str:
    place = error["loc"]
    where = f"entry {place[0]}" if place and isinstance(place[0], int) else "the array"
    field = ".".join(str(part) for part in place[1:])
    return f"{where}{', ' if field else ''}{field}: {_message(error)}"


# The settings.

#: The setting for the authentication of callers, and its value for tokens of a tenant.
AUTH = "BRIDGE_AUTH"

#: The default limit of waiting registrations per owner, if callers have tokens.
DEFAULT_MAX_WAITING = 10_000

_MISSING = {
    "BRIDGE_SIGNING_KEYS": f"is not set; {MAKE_KEY}",
    "BRIDGE_POLL_SCHEDULE": "is not set, and the timer does not run without it: */10 * * * * *",
}


_NEEDS_KEY = "a regional endpoint accepts no Entra token: set a key, or use the resource's custom subdomain"


class Auth(StrEnum):
    """How callers are authenticated."""

    KEY = "key"
    ENTRA = "entra"


class Enrichment(StrEnum):
    """Which events get more than the operation's own answer."""

    OFF = "off"
    ERRORS = "errors"


class Exporter(StrEnum):
    """Where telemetry goes."""

    OFF = "off"
    AZURE = "azure"
    OTLP = "otlp"


class Settings(BaseModel):
    """The settings of the app. Each field names its variable. docs/settings.md describes each one."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, populate_by_name=False)

    storage_connection: Annotated[ConnectionString | None, Field(alias="AzureWebJobsStorage")] = None
    storage_account: Annotated[str | None, Field(alias="AzureWebJobsStorage__accountName")] = None
    storage_client_id: Annotated[str | None, Field(alias="AzureWebJobsStorage__clientId")] = None
    storage_table_uri: Annotated[Endpoint | None, Field(alias="AzureWebJobsStorage__tableServiceUri")] = None
    storage_queue_uri: Annotated[Endpoint | None, Field(alias="AzureWebJobsStorage__queueServiceUri")] = None

    speech_endpoint: Annotated[SpeechEndpoint, Field(alias="SPEECH_ENDPOINT")]
    speech_other_endpoints: Annotated[SpeechEndpoints, Field(alias="SPEECH_OTHER_ENDPOINTS")] = ()
    speech_key: Annotated[HeaderSecret | None, Field(alias="SPEECH_KEY")] = None
    speech_path: Annotated[str, Field(alias="SPEECH_PATH", pattern=r"^[a-z]+$")] = "avatar"
    speech_api_version: Annotated[str, Field(alias="SPEECH_API_VERSION", min_length=1)] = "2024-08-01"

    speech_rate: Annotated[float, Field(alias="SPEECH_REQUESTS_PER_SECOND", gt=0, le=100)] = 1.0

    more_sources: Annotated[tuple[SourceEntry, ...], BeforeValidator(read_entries), Field(alias="BRIDGE_SOURCES")] = ()

    auth: Annotated[Auth, Field(alias="BRIDGE_AUTH")] = Auth.KEY
    auth_tenant: Annotated[TenantId | None, Field(alias="BRIDGE_AUTH_TENANT")] = None
    auth_audience: Annotated[Audience | None, Field(alias="BRIDGE_AUTH_AUDIENCE")] = None
    auth_authority: Annotated[Authority, Field(alias="BRIDGE_AUTH_AUTHORITY")] = "https://login.microsoftonline.com"

    enrich: Annotated[Enrichment, Field(alias="BRIDGE_ENRICH")] = Enrichment.OFF

    telemetry: Annotated[Exporter, Field(alias="BRIDGE_TELEMETRY")] = Exporter.OFF

    public_url: Annotated[PublicUrl | None, Field(alias="BRIDGE_PUBLIC_URL")] = None

    signing_keys: Annotated[SigningKeys, Field(alias="BRIDGE_SIGNING_KEYS", repr=False)]
    #: The keys of the sources that have one, by name. Set by `read_settings`.
    source_keys: dict[str, SecretStr] = Field(default_factory=dict, init=False, repr=False)
    #: Also read by the host, which silently omits the timer if the variable is missing.
    poll_schedule: Annotated[Schedule, Field(alias="BRIDGE_POLL_SCHEDULE")]
    poll_interval: Annotated[Duration, Field(alias="BRIDGE_POLL_INTERVAL")] = timedelta(seconds=10)
    poll_plan: Annotated[PollPlan, Field(alias="BRIDGE_POLL_PLAN")] = PollPlan.LEARNT
    polls_per_operation: Annotated[float, Field(alias="BRIDGE_POLLS_PER_OPERATION", ge=1, le=1000)] = 12
    operation_deadline: Annotated[Duration, Field(alias="BRIDGE_OPERATION_DEADLINE")] = timedelta(hours=24)
    retention: Annotated[Duration, Field(alias="BRIDGE_RETENTION")] = timedelta(days=30)
    sweep_budget: Annotated[Duration, Field(alias="BRIDGE_SWEEP_BUDGET", le=timedelta(minutes=4))] = timedelta(
        seconds=45
    )
    sweep_threads: Annotated[int, Field(alias="BRIDGE_SWEEP_THREADS", ge=1, le=64)] = 16
    shared_operations: Annotated[bool, Field(alias="BRIDGE_SHARED_OPERATIONS")] = False
    max_waiting: Annotated[int | None, Field(alias="BRIDGE_MAX_WAITING_PER_OWNER", ge=1, le=1_000_000)] = None
    allow_http: Annotated[bool, Field(alias="BRIDGE_CALLBACK_ALLOW_HTTP")] = False
    allowed_networks: Annotated[Networks, Field(alias="BRIDGE_CALLBACK_ALLOWED_NETWORKS")] = ()
    refused_networks: Annotated[Networks, Field(alias="BRIDGE_CALLBACK_REFUSED_NETWORKS")] = ()
    allowed_ports: Annotated[Ports, Field(alias="BRIDGE_CALLBACK_ALLOWED_PORTS")] = frozenset({443})
    allowed_hosts: Annotated[Hosts, Field(alias="BRIDGE_CALLBACK_ALLOWED_HOSTS")] = None
    keep_answers: Annotated[bool, Field(alias="BRIDGE_CALLBACK_KEEP_ANSWERS")] = False

    @property
    def table_uri(self) -> str:
        """The URL of the account's table service."""
        return self.storage_table_uri or f"https://{self.storage_account}.table.core.windows.net"

    @property
    def queue_uri(self) -> str:
        """The URL of the account's queue service."""
        return self.storage_queue_uri or f"https://{self.storage_account}.queue.core.windows.net"

    @property
    def sources(self) -> tuple[Source, ...]:
        """All configured sources, `default` first."""
        default = Source(
            name=DEFAULT_SOURCE,
            endpoint=self.speech_endpoint,
            other_endpoints=self.speech_other_endpoints,
            path=self.speech_path,
            api_version=self.speech_api_version,
            requests_per_second=self.speech_rate,
        )
        explained = EXPLAINED if self.enrich is Enrichment.ERRORS else frozenset()
        return tuple(
            replace(source, explains_failures=source.path in explained)
            for source in (default, *(entry.source() for entry in self.more_sources))
        )

    @property
    def tenant(self) -> Tenant | None:
        """The tenant that identifies callers by its tokens, or None in key mode."""
        if self.auth is not Auth.ENTRA:
            return None
        if self.auth_tenant is None or self.auth_audience is None:
            raise Misconfigured(_lack_of_tenant({AUTH: Auth.ENTRA}))
        return Tenant(id=self.auth_tenant, audience=self.auth_audience, authority=self.auth_authority)

    @property
    def waiting_limit(self) -> int | None:
        """The limit of waiting registrations per owner, or None for no limit, the default in key mode."""
        return DEFAULT_MAX_WAITING if self.max_waiting is None and self.auth is Auth.ENTRA else self.max_waiting

    @property
    def sharing(self) -> Sharing:
        """How owners share an operation. In key mode there is only one owner."""
        if self.auth is not Auth.ENTRA:
            return Sharing()
        return Sharing(by_owners=self.shared_operations, places_of_owner=MAX_REGISTRATIONS_OF_OWNER)

    @property
    def keyring(self) -> Keyring:
        """The signing keys."""
        return Keyring(self.signing_keys)

    @property
    def callback_rules(self) -> CallbackRules:
        """The rules about destinations of callbacks."""
        return CallbackRules(
            allow_http=self.allow_http,
            allowed_networks=self.allowed_networks,
            refused_networks=self.refused_networks,
            allowed_hosts=self.allowed_hosts,
            allowed_ports=self.allowed_ports,
            keep_answers=self.keep_answers,
        )


_VARIABLES = frozenset(field.alias for field in Settings.model_fields.values() if field.alias)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from the environment. An empty variable counts as absent.

    Raises Misconfigured with all problems at once.
    """
    present = {name: value for name, value in environment.items() if value.strip()}
    problems = _lack_of_storage(present) | _lack_of_tenant(present)
    try:
        settings = Settings.model_validate({name: present[name] for name in present if name in _VARIABLES})
    except ValidationError as error:
        raise Misconfigured(problems | _problems(error)) from None
    keys, key_problems = _source_keys(settings, present)
    problems |= key_problems
    if ambiguous(settings.sources):
        problems["BRIDGE_SOURCES"] = "two sources have the same endpoint and path"
    if problems:
        raise Misconfigured(problems)
    return settings.model_copy(update={"source_keys": keys})


def _source_keys(settings: Settings, present: Mapping[str, str]) -> tuple[dict[str, SecretStr], dict[str, str]]:
    """Return the key of each source that has one, and the problems of missing or invalid keys."""
    variables = {DEFAULT_SOURCE: "SPEECH_KEY"} | {each.name: each.keyVariable or "" for each in settings.more_sources}
    keys: dict[str, SecretStr] = {}
    problems: dict[str, str] = {}
    for source in settings.sources:
        variable = variables[source.name]
        if variable in present:
            try:
                keys[source.name] = TypeAdapter[SecretStr](HeaderSecret).validate_python(present[variable])
            except ValidationError as error:
                problems[variable] = _message(error.errors()[0])
        elif variable and source.name != DEFAULT_SOURCE:
            problems[variable] = "is not set, and BRIDGE_SOURCES names it"
        elif takes_keys_only(source.endpoint):
            problems[variable or "BRIDGE_SOURCES"] = _NEEDS_KEY
    return keys, problems


def _lack_of_storage(present: Mapping[str, str]) -> dict[str, str]:
    """Check that storage is configured in one of three ways. No single field is required."""
    account = "AzureWebJobsStorage__accountName" in present
    uris = {"AzureWebJobsStorage__tableServiceUri", "AzureWebJobsStorage__queueServiceUri"} <= set(present)
    if account or uris or "AzureWebJobsStorage" in present:
        return {}
    return {"AzureWebJobsStorage": "set a connection string, or AzureWebJobsStorage__accountName"}


def _lack_of_tenant(present: Mapping[str, str]) -> dict[str, str]:
    """Check tenant and audience: required for tokens, and an error in key mode, which does not separate owners."""
    needed = ("BRIDGE_AUTH_TENANT", "BRIDGE_AUTH_AUDIENCE")
    if present.get(AUTH) == Auth.ENTRA:
        return {name: f"is not set, and {AUTH} is {Auth.ENTRA}" for name in needed if name not in present}
    return {name: f"is set, but {AUTH} is not {Auth.ENTRA}" for name in needed if name in present}


def _problems(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False):
        name, message = str(problem["loc"][0]), _message(problem)
        problems.setdefault(name, _MISSING.get(name, "is not set") if problem["type"] == "missing" else message)
    return problems
