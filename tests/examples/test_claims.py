"""Claims of the Azure Functions example, on the storage emulator."""

import importlib.util
import uuid
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient, TableEntity

from local.azurite import Azurite
from tests.examples.receivers import EXAMPLES


def load(name: str) -> ModuleType:
    """Import a module from the folder of the example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / "azure-function" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


claims = load("claims")


@pytest.fixture
def table(azurite: Azurite) -> Iterator[TableClient]:
    """Yield a client for a table that does not exist yet."""
    name = f"t{uuid.uuid4().hex}"
    with TableClient.from_connection_string(azurite.connection_string, name) as table:
        yield table


def test_completed_work_is_not_claimed_again(table: TableClient) -> None:
    """The age of the completed work is irrelevant."""
    for lease in (timedelta(minutes=6), timedelta()):
        with claims.Claims(table, lease).claim("msg_1") as is_ours:
            assert is_ours is (lease > timedelta())


def test_work_in_progress_is_busy(table: TableClient) -> None:
    """The claim is busy until the end of the lease."""
    with claims.Claims(table).claim("msg_1"), pytest.raises(claims.Busy), claims.Claims(table).claim("msg_1"):
        pytest.fail("two had the claim")


def test_failed_work_releases_its_claim(table: TableClient) -> None:
    """The next worker can claim at once."""
    with pytest.raises(RuntimeError, match="the work failed"), claims.Claims(table).claim("msg_1"):
        raise RuntimeError("the work failed")

    with claims.Claims(table).claim("msg_1") as is_ours:
        assert is_ours


def test_claim_of_a_crashed_worker_expires(table: TableClient) -> None:
    """The claim is free after the end of the lease."""
    assert claims.Claims(table)._begin("msg_1")  # and never finishes

    with claims.Claims(table, timedelta()).claim("msg_1") as is_ours:
        assert is_ours


class Beaten(TableClient):
    """A table in which another worker changes each row right after a read."""

    def get_entity(self, *args: Any, **kwargs: Any) -> TableEntity:
        """Read a row that changes right after that."""
        row = super().get_entity(*args, **kwargs)
        super().update_entity(row)
        return row


def test_one_of_two_takeovers_succeeds(azurite: Azurite, table: TableClient) -> None:
    """The other worker gets an ETag mismatch."""
    assert claims.Claims(table)._begin("msg_1")

    with Beaten.from_connection_string(azurite.connection_string, table.table_name) as beaten:
        late = claims.Claims(beaten, timedelta())
        with pytest.raises(claims.Busy, match="changed hands"), late.claim("msg_1"):
            pytest.fail("two had the claim")


def test_claim_creates_the_table(table: TableClient) -> None:
    """The first callback creates the table."""
    with pytest.raises(ResourceNotFoundError):
        table.get_entity("msg_1", "callback")

    with claims.Claims(table).claim("msg_1") as is_ours:
        assert is_ours
