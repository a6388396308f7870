"""Everything that the environment decides, read once, as one frozen object.

Every problem is reported at once, by the name of the variable and never with its value: a value can be a secret.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from bridge.domain.callback_url import CallbackRules
from bridge.domain.clouds import takes_keys_only
from bridge.domain.errors import Misconfigured
from bridge.domain.keyring import Keyring
from bridge.domain.operation import MAX_REGISTRATIONS_OF_OWNER
from bridge.domain.principal import Tenant
from bridge.domain.sharing import Sharing
from bridge.domain.source import DEFAULT_SOURCE, Source
from bridge.more_sources import EXPLAINED, SourceEntry, ambiguous, read_entries
from bridge.setting_kinds import (
    MAKE_KEY,
    Audience,
    Authority,
    ConnectionString,
    Duration,
    Endpoint,
    HeaderSecret,
    Hosts,
    Networks,
    Ports,
    PublicUrl,
    Schedule,
    SigningKeys,
    SpeechEndpoint,
    SpeechEndpoints,
    TenantId,
)

#: The setting that says how callers are told apart, and the value by which each is known by a token.
AUTH, BY_TOKEN = "BRIDGE_AUTH", "entra"

#: Registrations of one owner that may wait, if callers are told apart and no setting says otherwise.
DEFAULT_MAX_WAITING = 10_000

_MISSING = {
    "BRIDGE_SIGNING_KEYS": f"is not set; {MAKE_KEY}",
    "BRIDGE_POLL_SCHEDULE": "is not set, and the timer does not tick without it: */10 * * * * *",
}


_NEEDS_KEY = "a regional endpoint takes no Entra token: name a key, or use the resource's custom subdomain"


class Settings(BaseModel):
    """What the app runs with. Each field names its variable; README.md says what each one does."""

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

    auth: Annotated[Literal["key", "entra"], Field(alias="BRIDGE_AUTH")] = "key"
    auth_tenant: Annotated[TenantId | None, Field(alias="BRIDGE_AUTH_TENANT")] = None
    auth_audience: Annotated[Audience | None, Field(alias="BRIDGE_AUTH_AUDIENCE")] = None
    auth_authority: Annotated[Authority, Field(alias="BRIDGE_AUTH_AUTHORITY")] = "https://login.microsoftonline.com"

    enrich: Annotated[Literal["off", "errors"], Field(alias="BRIDGE_ENRICH")] = "off"

    telemetry: Annotated[Literal["off", "azure", "otlp"], Field(alias="BRIDGE_TELEMETRY")] = "off"

    public_url: Annotated[PublicUrl | None, Field(alias="BRIDGE_PUBLIC_URL")] = None

    signing_keys: Annotated[SigningKeys, Field(alias="BRIDGE_SIGNING_KEYS", repr=False)]
    #: The keys of the sources that have one, by name; found by `read_settings`.
    source_keys: dict[str, SecretStr] = Field(default_factory=dict, init=False, repr=False)
    #: Read by the host too, which leaves the timer out without a word if it is missing.
    poll_schedule: Annotated[Schedule, Field(alias="BRIDGE_POLL_SCHEDULE")]
    poll_interval: Annotated[Duration, Field(alias="BRIDGE_POLL_INTERVAL")] = timedelta(seconds=10)
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
            other_endpoints=self.speech_other_endpoints,
            path=self.speech_path,
            api_version=self.speech_api_version,
            requests_per_second=self.speech_rate,
        )
        explained = EXPLAINED if self.enrich == "errors" else frozenset()
        return tuple(
            replace(source, explains_failures=source.path in explained)
            for source in (default, *(entry.source() for entry in self.more_sources))
        )

    @property
    def tenant(self) -> Tenant | None:
        """Whose tokens tell callers apart; None where a function key is the whole trust."""
        if self.auth != BY_TOKEN:
            return None
        if self.auth_tenant is None or self.auth_audience is None:
            raise Misconfigured(_lack_of_tenant({AUTH: BY_TOKEN}))
        return Tenant(id=self.auth_tenant, audience=self.auth_audience, authority=self.auth_authority)

    @property
    def waiting_limit(self) -> int | None:
        """How many registrations of one owner may wait; None if nothing limits them, as all share one owner."""
        return DEFAULT_MAX_WAITING if self.max_waiting is None and self.auth == BY_TOKEN else self.max_waiting

    @property
    def sharing(self) -> Sharing:
        """How owners share an operation; with a function key there is one owner."""
        if self.auth != BY_TOKEN:
            return Sharing()
        return Sharing(by_owners=self.shared_operations, places_of_owner=MAX_REGISTRATIONS_OF_OWNER)

    @property
    def keyring(self) -> Keyring:
        """What messages are signed with."""
        return Keyring(self.signing_keys)

    @property
    def callback_rules(self) -> CallbackRules:
        """Where callbacks may go."""
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
    """Read the environment; an empty variable counts as absent.

    Raises Misconfigured with every problem at once.
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
    """Find the key of each source that has one, and what is wrong with those that need one."""
    variables = {DEFAULT_SOURCE: "SPEECH_KEY"} | {each.name: each.keyVariable or "" for each in settings.more_sources}
    keys: dict[str, SecretStr] = {}
    problems: dict[str, str] = {}
    for source in settings.sources:
        variable = variables[source.name]
        if variable in present:
            try:
                keys[source.name] = TypeAdapter[SecretStr](HeaderSecret).validate_python(present[variable])
            except ValidationError as error:
                problems[variable] = error.errors()[0]["msg"].removeprefix("Value error, ")
        elif variable and source.name != DEFAULT_SOURCE:
            problems[variable] = "is not set, and BRIDGE_SOURCES names it"
        elif takes_keys_only(source.endpoint):
            problems[variable or "BRIDGE_SOURCES"] = _NEEDS_KEY
    return keys, problems


def _lack_of_storage(present: Mapping[str, str]) -> dict[str, str]:
    """Storage is named in one of three ways, so no field of it alone is required."""
    account = "AzureWebJobsStorage__accountName" in present
    uris = {"AzureWebJobsStorage__tableServiceUri", "AzureWebJobsStorage__queueServiceUri"} <= set(present)
    if account or uris or "AzureWebJobsStorage" in present:
        return {}
    return {"AzureWebJobsStorage": "set a connection string, or AzureWebJobsStorage__accountName"}


def _lack_of_tenant(present: Mapping[str, str]) -> dict[str, str]:
    """Tokens need a tenant and an audience; given without tokens, somebody believes that owners are told apart."""
    needed = ("BRIDGE_AUTH_TENANT", "BRIDGE_AUTH_AUDIENCE")
    if present.get(AUTH) == BY_TOKEN:
        return {name: f"is not set, and {AUTH} is {BY_TOKEN}" for name in needed if name not in present}
    return {name: f"is set, but {AUTH} is not {BY_TOKEN}" for name in needed if name in present}


def _problems(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name, message = str(problem["loc"][0]), problem["msg"].removeprefix("Value error, ")
        problems.setdefault(name, _MISSING.get(name, "is not set") if problem["type"] == "missing" else message)
    return problems
