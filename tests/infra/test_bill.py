"""The bill in infra/README.md: the counts match measured counts, and the sums match counts and prices."""

import re
from datetime import timedelta

import pytest

from local.settings import REPOSITORY
from tests.support.harness import Harness, harness

README = (REPOSITORY / "infra" / "README.md").read_text()
BILL = README.split("## What it costs", 1)[1].split("\n## ", 1)[0]

MONTH = timedelta(days=30)
SWEEPS = MONTH // timedelta(seconds=10)
SIZES = {"idle": 0, "10,000": 10_000, "1,000,000": 1_000_000}


def table(title: str) -> dict[str, list[str]]:
    """Return a table of the section, found by the first header cell. Rows are keyed by their first cell."""
    lines = BILL.split(f"| {title} |", 1)[1].splitlines()[2:]
    rows = (line.strip("| ").split(" | ") for line in lines[: lines.index("") if "" in lines else None])
    return {cells[0]: [cell.strip() for cell in cells[1:]] for cells in rows}


#: The heartbeat's write, and the read for missing due rows.
CALLS_PER_HEARTBEAT = 2


def number(text: str) -> float:
    """Parse the number of a cell."""
    found = re.search(r"[\d,]+(?:\.\d+)?", text)
    assert found is not None, text
    return float(found[0].replace(",", ""))


def life_of_an_operation(bridge: Harness) -> int:
    """Count the table calls of one operation from registration to purge, without idle sweeps."""
    bridge.sweep()
    bridge.table.taken()
    idle = 0
    bridge.register()
    for status in ("Running", "Running", "Running", "Succeeded"):
        bridge.upstream.script("operation-1", status)
        bridge.clock.advance(15)
        bridge.sweep()
        idle += 17
    bridge.deliver_all()
    bridge.clock.advance(timedelta(days=30))
    bridge.sweep()
    assert not bridge.due_keys()
    return bridge.table.taken().total() - idle - 17


def test_calls_of_an_operation_are_counted() -> None:
    """The operation is registered once, polled four times, delivered at the first attempt and purged."""
    counted = life_of_an_operation(harness())

    heartbeats = 2  # the clock passes two full minutes
    assert counted - heartbeats * CALLS_PER_HEARTBEAT == number(table("count")["table calls"][1])


def test_lines_of_an_operation_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The count includes lines that name the operation."""
    caplog.set_level("INFO")

    life_of_an_operation(harness())

    lines = [record.message for record in caplog.records if "operation-1" in record.message]
    assert len(lines) == 4
    assert "four lines an operation beside those of the sweeps" in BILL


def test_counts_of_a_month_without_operations_are_those_of_the_timer() -> None:
    """The timer ticks every 10 s with seventeen reads. Each minute adds a heartbeat and a check of due rows."""
    counts = {name: number(cells[0]) for name, cells in table("count").items()}

    assert counts["executions"] == SWEEPS
    assert counts["GB-seconds at 512 MB"] == SWEEPS * 0.5
    assert counts["table calls"] == SWEEPS * 17 + CALLS_PER_HEARTBEAT * (MONTH // timedelta(minutes=1))


@pytest.mark.parametrize(("size", "operations"), SIZES.items(), ids=SIZES)
def test_the_sum_is_counts_times_prices(size: str, operations: int) -> None:
    """The free monthly amount is subtracted first."""
    column = list(SIZES).index(size)
    prices = table("price")
    total = number(prices["alert rules"][0])
    for name, (idle, each) in table("count").items():
        shadow_price, per, free = (number(cell) for cell in prices[name])
        total += max(0.0, number(idle) + operations * number(each) - free) / per * shadow_price

    assert round(total) == number(table("operations a month")["sum"][column])
