"""Creates the clients of Azure from the settings: with a connection string, or with an identity."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from azure.core.credentials import TokenCredential
from azure.data.tables import TableClient
from azure.identity import DefaultAzureCredential, get_bearer_token_provider
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from bridge.adapters.azure.storage_calls import DeadlineTransport, storage_guard
from bridge.adapters.net.guard import Guard
from bridge.adapters.speech import Authorisation
from bridge.domain.clouds import cloud_of
from bridge.domain.errors import Misconfigured
from bridge.domain.upstream import Source
from bridge.settings import Settings

#: The name of the bridge's only table.
TABLE = "bridge"


@contextmanager
def blaming(setting: str) -> Iterator[None]:
    """Convert a ValueError of a library into Misconfigured about `setting`, without the setting's value."""
    try:
        yield
    except ValueError as error:
        raise Misconfigured({setting: f"is not usable ({type(error).__name__})"}) from error


@blaming("AZURE_TOKEN_CREDENTIALS")
def credential(settings: Settings, guard: Guard | None = None) -> TokenCredential:
    """Create the identity for calls to storage and Speech without a key. Makes no call yet.

    Its calls count against the deadline of the storage call that needs the token. The library's own timeouts and
    retries take minutes.
    """
    return DefaultAzureCredential(
        managed_identity_client_id=settings.storage_client_id,
        transport=DeadlineTransport(guard or storage_guard()),
        retry_total=1,
    )


@blaming("AzureWebJobsStorage")
def table_client(settings: Settings, identity: TokenCredential | None, guard: Guard | None = None) -> TableClient:
    """Create the table's client without retries: `bridge/adapters/azure/table.py` retries, and only reads."""
    options: dict[str, Any] = {"transport": DeadlineTransport(guard or storage_guard()), "retry_total": 0}
    if settings.storage_connection is not None:
        return TableClient.from_connection_string(
            settings.storage_connection.get_secret_value(), table_name=TABLE, **options
        )
    return TableClient(settings.table_uri, TABLE, credential=identity, **options)


@blaming("AzureWebJobsStorage")
def queue_client(
    settings: Settings, identity: TokenCredential | None, name: str, guard: Guard | None = None
) -> QueueClient:
    """Create a queue's client. Messages are base64, as host.json declares.

    The client never retries: the library would sleep 15 s first, and the due row of an unsent message is the retry.
    """
    options: dict[str, Any] = {
        "transport": DeadlineTransport(guard or storage_guard()),
        "retry_total": 0,
        "message_encode_policy": TextBase64EncodePolicy(),
    }
    if settings.storage_connection is not None:
        return QueueClient.from_connection_string(
            settings.storage_connection.get_secret_value(), queue_name=name, **options
        )
    return QueueClient(settings.queue_uri, name, credential=identity, **options)


def authorisations(settings: Settings) -> Mapping[str, Authorisation]:
    """Return the authorisation of each source: its key, or else an Entra token, which the provider caches."""
    identity = cache(lambda: credential(settings))

    def by_key(key: str) -> Authorisation:
        return lambda: {"Ocp-Apim-Subscription-Key": key}

    @cache
    def by_token(scope: str) -> Authorisation:
        token = get_bearer_token_provider(identity(), scope)
        return lambda: {"Authorization": f"Bearer {token()}"}

    def proof(source: Source) -> Authorisation:
        key = settings.source_keys.get(source.name)
        return by_key(key.get_secret_value()) if key else by_token(cloud_of(source.endpoint).scope)

    return {source.name: proof(source) for source in settings.sources}
