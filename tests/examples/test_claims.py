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
    """Import a module of the example, which is a folder of its own."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / "azure-function" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


claims = load("claims")


@pytest.fixture
def table(azurite: Azurite) -> Iterator[TableClient]:
    """Name a table for one test, which does not exist yet."""
    name = f"t{uuid.uuid4().hex}"
    with TableClient.from_connection_string(azurite.connection_string, name) as table:
        yield table


def test_what_is_done_is_not_claimed_again(table: TableClient) -> None:
    """However long ago it was."""
    for lease in (timedelta(minutes=6), timedelta()):
        with claims.Claims(table, lease).claim("msg_1") as is_ours:
            assert is_ours is (lease > timedelta())


def test_what_somebody_works_on_is_busy(table: TableClient) -> None:
    """Until its lease ends."""
    with claims.Claims(table).claim("msg_1"), pytest.raises(claims.Busy), claims.Claims(table).claim("msg_1"):
        pytest.fail("two had the claim")


def test_work_that_failed_gives_its_claim_back(table: TableClient) -> None:
    """The next one may try at once."""
    with pytest.raises(RuntimeError, match="the work failed"), claims.Claims(table).claim("msg_1"):
        raise RuntimeError("the work failed")

    with claims.Claims(table).claim("msg_1") as is_ours:
        assert is_ours


def test_claim_of_one_that_crashed_goes_to_the_next(table: TableClient) -> None:
    """Once its lease is over."""
    assert claims.Claims(table)._begin("msg_1")  # and never comes to an end

    with claims.Claims(table, timedelta()).claim("msg_1") as is_ours:
        assert is_ours


class Beaten(TableClient):
    """A table in which somebody else is faster, whenever a row was read."""

    def get_entity(self, *args: Any, **kwargs: Any) -> TableEntity:
        """Read a row that changes right after that."""
        row = super().get_entity(*args, **kwargs)
        super().update_entity(row)
        return row


def test_of_two_that_take_over_one_gets_it(azurite: Azurite, table: TableClient) -> None:
    """The other one finds that the row has changed."""
    assert claims.Claims(table)._begin("msg_1")

    with Beaten.from_connection_string(azurite.connection_string, table.table_name) as beaten:
        late = claims.Claims(beaten, timedelta())
        with pytest.raises(claims.Busy, match="changed hands"), late.claim("msg_1"):
            pytest.fail("two had the claim")


def test_claim_needs_no_table_made_before(table: TableClient) -> None:
    """The first callback makes it."""
    with pytest.raises(ResourceNotFoundError):
        table.get_entity("msg_1", "callback")

    with claims.Claims(table).claim("msg_1") as is_ours:
        assert is_ours
