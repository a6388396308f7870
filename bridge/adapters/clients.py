"""The one place that turns settings into clients of Azure: a connection string, or an identity."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from azure.core.credentials import TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient
from azure.identity import DefaultAzureCredential
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from requests.adapters import HTTPAdapter

from bridge.core.errors import Misconfigured
from bridge.settings import Settings

#: The table of everything.
TABLE = "bridge"

#: Seconds; the library's own default is five minutes.
_TIMEOUTS = {"connection_timeout": 5, "read_timeout": 10}

#: As many connections stay open as threads may share the client.
_POOL = 64


@contextmanager
def blaming(setting: str) -> Iterator[None]:
    """Raise Misconfigured about `setting` for what a library finds wrong with it, without its value."""
    try:
        yield
    except ValueError as error:
        raise Misconfigured({setting: f"is not usable ({type(error).__name__})"}) from error


@blaming("AZURE_TOKEN_CREDENTIALS")
def credential(settings: Settings) -> TokenCredential:
    """Make the identity that storage and Speech are asked with, where no key was given. Asks nobody yet."""
    # An identity endpoint that hangs would hold a sweep: the library's own timeouts are minutes.
    return DefaultAzureCredential(
        managed_identity_client_id=settings.storage_client_id, connection_timeout=5, read_timeout=10
    )


@blaming("AzureWebJobsStorage")
def table_client(settings: Settings, identity: TokenCredential | None) -> TableClient:
    """Make the table's client; its writes are never retried inside (see `bridge/adapters/tables.py`)."""
    options: dict[str, Any] = {"transport": _transport(), "retry_total": 0}
    if settings.storage_connection is not None:
        return TableClient.from_connection_string(
            settings.storage_connection.get_secret_value(), table_name=TABLE, **options
        )
    return TableClient(settings.table_uri, TABLE, credential=identity, **options)


@blaming("AzureWebJobsStorage")
def queue_client(settings: Settings, identity: TokenCredential | None, name: str) -> QueueClient:
    """Make a queue's client; messages are base64, as host.json declares. A lost message has its due row."""
    options: dict[str, Any] = {
        "transport": _transport(),
        "retry_total": 1,
        "message_encode_policy": TextBase64EncodePolicy(),
    }
    if settings.storage_connection is not None:
        return QueueClient.from_connection_string(
            settings.storage_connection.get_secret_value(), queue_name=name, **options
        )
    return QueueClient(settings.queue_uri, name, credential=identity, **options)


def _transport() -> RequestsTransport:
    """Make a transport whose pool is as large as the threads that share it, and which no environment bends."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=_POOL))
    return RequestsTransport(session=session, session_owner=True, **_TIMEOUTS)
