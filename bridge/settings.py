"""Everything that the environment decides, read once, as one frozen object.

Every problem is reported at once, by the name of the variable and never with its value: a value can be a secret.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from bridge.core.callback import CallbackRules
from bridge.core.errors import Misconfigured
from bridge.core.networks import Network
from bridge.core.polling import PollingPolicy
from bridge.core.signing import MIN_KEY_BYTES, Keyring
from bridge.core.source import DEFAULT_SOURCE, Source

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_MAKE_KEY = 'make one with: python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
_UNRESOLVED = "@Microsoft.KeyVault("
_MAX_PORT = 65535
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+", re.ASCII)


def _resolved(value: object) -> object:
    """Notice a Key Vault reference that did not resolve: it arrives as its own text."""
    if isinstance(value, str) and value.startswith(_UNRESOLVED):
        raise ValueError("its Key Vault reference did not resolve: check the identity's access to the vault")
    return value


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(str(value).strip())
    if found is None:
        raise ValueError("write a whole number with a unit: 45s, 15m, 24h or 30d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _keys(value: object) -> object:
    if isinstance(_resolved(value), tuple):
        return value
    return tuple(_key(part.strip()) for part in str(value).split(","))


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"each key is base64; {_MAKE_KEY}") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"each key has {MIN_KEY_BYTES} bytes or more; {_MAKE_KEY}")
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
    hosts = frozenset(part.strip().lower() for part in str(value).split(",") if part.strip())
    if not hosts or not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("write hosts separated by commas, each a name, an address or *.suffix")
    return hosts


def _endpoint(value: object) -> object:
    text = str(_resolved(value)).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("write it as https://name.cognitiveservices.azure.com")
    return text


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(seconds=1))]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]
Secret = Annotated[SecretStr, BeforeValidator(_resolved), Field(min_length=1)]


class Settings(BaseModel):
    """What the app runs with. Each field names its variable; README.md says what each one does."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, populate_by_name=False)

    storage_connection: Annotated[Secret | None, Field(alias="AzureWebJobsStorage")] = None
    storage_account: Annotated[str | None, Field(alias="AzureWebJobsStorage__accountName")] = None
    storage_client_id: Annotated[str | None, Field(alias="AzureWebJobsStorage__clientId")] = None
    storage_table_uri: Annotated[str | None, Field(alias="AzureWebJobsStorage__tableServiceUri")] = None
    storage_queue_uri: Annotated[str | None, Field(alias="AzureWebJobsStorage__queueServiceUri")] = None

    speech_endpoint: Annotated[Endpoint, Field(alias="SPEECH_ENDPOINT")]
    speech_key: Annotated[Secret | None, Field(alias="SPEECH_KEY")] = None
    speech_path: Annotated[str, Field(alias="SPEECH_PATH", pattern=r"^[a-z]+$")] = "avatar"
    speech_api_version: Annotated[str, Field(alias="SPEECH_API_VERSION", min_length=1)] = "2024-08-01"

    signing_keys: Annotated[tuple[bytes, ...], BeforeValidator(_keys), Field(alias="BRIDGE_SIGNING_KEYS", repr=False)]
    poll_interval: Annotated[Duration, Field(alias="BRIDGE_POLL_INTERVAL")] = timedelta(seconds=15)
    operation_deadline: Annotated[Duration, Field(alias="BRIDGE_OPERATION_DEADLINE")] = timedelta(hours=24)
    retention: Annotated[Duration, Field(alias="BRIDGE_RETENTION")] = timedelta(days=30)
    sweep_budget: Annotated[Duration, Field(alias="BRIDGE_SWEEP_BUDGET", le=timedelta(minutes=4))] = timedelta(
        seconds=45
    )
    sweep_threads: Annotated[int, Field(alias="BRIDGE_SWEEP_THREADS", ge=1, le=64)] = 16
    allow_http: Annotated[bool, Field(alias="BRIDGE_CALLBACK_ALLOW_HTTP")] = False
    allowed_networks: Annotated[
        tuple[Network, ...], BeforeValidator(_networks), Field(alias="BRIDGE_CALLBACK_ALLOWED_NETWORKS")
    ] = ()
    allowed_ports: Annotated[
        frozenset[int] | None, BeforeValidator(_ports), Field(alias="BRIDGE_CALLBACK_ALLOWED_PORTS")
    ] = frozenset({443})

    allowed_hosts: Annotated[
        frozenset[str] | None, BeforeValidator(_hosts), Field(alias="BRIDGE_CALLBACK_ALLOWED_HOSTS")
    ] = None
    keep_answers: Annotated[bool, Field(alias="BRIDGE_CALLBACK_KEEP_ANSWERS")] = False

    @model_validator(mode="after")
    def _storage_is_named(self) -> "Settings":
        if self.storage_connection is None and not (self.storage_account or self._has_both_uris):
            raise ValueError("AzureWebJobsStorage: set a connection string, or AzureWebJobsStorage__accountName")
        return self

    @property
    def _has_both_uris(self) -> bool:
        return bool(self.storage_table_uri and self.storage_queue_uri)

    @property
    def table_uri(self) -> str:
        """Where the table service of the account is."""
        return self.storage_table_uri or f"https://{self.storage_account}.table.core.windows.net"

    @property
    def queue_uri(self) -> str:
        """Where the queue service of the account is."""
        return self.storage_queue_uri or f"https://{self.storage_account}.queue.core.windows.net"

    @property
    def sources(self) -> tuple[Source, ...]:
        """Whom the bridge may ask."""
        default = Source(
            name=DEFAULT_SOURCE,
            endpoint=self.speech_endpoint,
            path=self.speech_path,
            api_version=self.speech_api_version,
        )
        return (default,)

    @property
    def keyring(self) -> Keyring:
        """What messages are signed with."""
        return Keyring(self.signing_keys)

    @property
    def polling(self) -> PollingPolicy:
        """What the schedule may choose from."""
        return PollingPolicy(interval=self.poll_interval, deadline=self.operation_deadline)

    @property
    def callback_rules(self) -> CallbackRules:
        """Where callbacks may go."""
        return CallbackRules(
            allow_http=self.allow_http,
            allowed_networks=self.allowed_networks,
            allowed_hosts=self.allowed_hosts,
            allowed_ports=self.allowed_ports,
            keep_answers=self.keep_answers,
        )


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the environment; an empty variable counts as absent.

    Raises Misconfigured with every problem at once.
    """
    present = {name: value for name, value in environment.items() if value.strip()}
    try:
        return Settings.model_validate(present)
    except ValidationError as error:
        raise Misconfigured(_problems(error)) from None


def _problems(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        name, _, rest = message.partition(": ") if not problem["loc"] else (str(problem["loc"][0]), "", message)
        problems.setdefault(name, _missing(name) if problem["type"] == "missing" else rest)
    return problems


def _missing(name: str) -> str:
    hints: dict[str, Any] = {"BRIDGE_SIGNING_KEYS": _MAKE_KEY}
    return f"is not set; {hints[name]}" if name in hints else "is not set"
