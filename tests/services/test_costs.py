"""Cost in storage calls, the base of a deployment's bill."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.core.pipeline import PipelineRequest
from azure.data.tables import TableClient

from bridge.adapters.azure.table import AzureTable
from bridge.domain.registration import State
from bridge.services.bulk_redelivery import Order
from bridge.storage.index import EntryFilter
from local.azurite import Azurite
from tests.support.harness import NOON, Harness, harness
from tests.support.witness import Witness


@pytest.fixture
def counted(azurite: Azurite) -> Iterator[tuple[Harness, Counter[str]]]:
    """Yield a bridge on the emulator, with a counter of the table's HTTP requests."""
    requests: Counter[str] = Counter()

    def count(request: PipelineRequest[object]) -> None:
        requests[str(getattr(request.http_request, "method", ""))] += 1

    with TableClient.from_connection_string(
        azurite.connection_string, table_name="costs", retry_total=0, raw_request_hook=count
    ) as client:
        client.create_table()
        requests.clear()
        yield harness(lambda _: AzureTable(client)), requests
        client.delete_table()


def test_an_idle_sweep_is_sixteen_queries_and_one_read(counted: tuple[Harness, Counter[str]]) -> None:
    """There are two queries per partition and one read of the sources. Once a minute, a heartbeat is added."""
    bridge, requests = counted
    bridge.sweep()
    requests.clear()

    for _ in range(5):
        bridge.clock.advance(10)
        bridge.sweep()

    assert requests == {"GET": 5 * (16 + 1)}


def test_a_new_registration_is_one_request(counted: tuple[Harness, Counter[str]]) -> None:
    """The request is one transaction without a read."""
    bridge, requests = counted

    bridge.register()

    assert requests == {"POST": 1}


def test_a_further_registration_is_three_requests(counted: tuple[Harness, Counter[str]]) -> None:
    """The requests are an insert that fails, a read, and a transaction."""
    bridge, requests = counted
    bridge.register()
    requests.clear()

    bridge.register("operation-1", "https://other.example.com/")

    assert requests == {"POST": 2, "GET": 1}


def test_a_terminal_operation_and_its_callback_are_five_requests_and_one_message(
    counted: tuple[Harness, Counter[str]],
) -> None:
    """The sweep's seventeen reads and the reservation are extra. The five are: read, end, read, claim, record."""
    bridge, requests = counted
    bridge.sweep()
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    requests.clear()

    bridge.sweep()
    messages = bridge.deliver_all()

    assert requests == {"GET": 17 + 2, "POST": 1 + 3}
    assert messages == 1


def test_a_poll_without_a_change_costs_at_most_a_tenth_of_a_request(
    counted: tuple[Harness, Counter[str]],
) -> None:
    """The example has 1,000 due operations in one sweep."""
    bridge, requests = counted
    bridge.sweep()
    for number in range(1000):
        bridge.register(f"operation-{number}")
    requests.clear()

    bridge.sweep()

    assert len(bridge.upstream.asked) == 1000
    assert requests.total() - 17 <= 100


def stated(step: str) -> set[int]:
    """Return the number of rows of a step from ARCHITECTURE.md's table."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    [line] = [line for line in text.splitlines() if line.startswith(f"| {step} |")]
    rows = line.strip("| ").split(" | ")[-2]
    first, *others = (int(number) for number in re.findall(r"\d+", rows))
    return {first, first + sum(others)} if "+" in rows else {first, *others}


def test_steps_write_the_documented_number_of_rows() -> None:
    witness = Witness()
    bridge = harness(lambda _: witness)
    registrations = bridge.registrations
    one, two = (bridge.request(url=f"https://{name}.example.com/") for name in ("one", "two"))
    bridge.sender.script(one.callback_url, 500, 200)
    bridge.sender.script(two.callback_url, 410)
    order = Order(owner="shared", states=[State.DEAD], where=EntryFilter(since=NOON), limit=1)

    def end() -> None:
        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()

    steps: dict[str, Callable[[], object]] = {
        "register, new": lambda: registrations.register(one),
        "register, further": lambda: registrations.register(two),
        "cancel, waiting": lambda: registrations.cancel(two.ref),
        "cancel, waiting; the last one": lambda: registrations.cancel(one.ref),
        "register, no registration waited or `Expired`": lambda: registrations.register(one),
        "poll, not terminal": bridge.sweep,
        "reserve + poll, terminal + learn": end,
        "claim + record; a retry": bridge.deliver_all,
        "enqueue": bridge.sweep,
        "retry now": lambda: registrations.redeliver(one.ref),
        "claim + record; a delivery": bridge.deliver_all,
        "redeliver": lambda: registrations.redeliver(one.ref),
        "cancel, pending": lambda: registrations.cancel(one.ref),
        "register, the operation has ended": lambda: registrations.register(two),
        "claim + record; a death": bridge.deliver_all,
        "redeliver, one of many": lambda: bridge.bulk_redelivery.redeliver(order),
        "cancel, pending; another one": lambda: registrations.cancel(two.ref),
        "purge, one registration": lambda: registrations.purge(two.ref),
    }
    bridge.sweep()  # writes the heartbeat
    witness.taken()

    written = {}
    for name, step in steps.items():
        step()
        written[name] = witness.taken()
        bridge.clock.advance(15)

    # including the heartbeat, the reservation and the duration model
    assert written.pop("poll, not terminal") == [1, 1, 3, 1]
    for name, sizes in written.items():
        for kind, size in zip(name.partition(";")[0].split(" + "), sizes, strict=True):
            assert size in stated(kind), f"{name} wrote {size} rows"
