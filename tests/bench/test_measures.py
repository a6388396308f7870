"""Each measure of speed and cost at a very small size yields the promised figures. The real run judges them."""

import math

import pytest

from bench import imports
from bench.__main__ import MEASURES
from bench.measuring import Pair, Scale
from bench.page import GOALS, missed, page
from tests.support.tools import tool

TINY = Scale(
    rounds=1,
    long_rounds=1,
    polls=20,
    attempts=8,
    counted=4,
    many=30,
    stored=20,
    few=5,
    due=10,
    lists=1,
    imports=1,
    callbacks=2,
    registrations=20,
    shared=20,
)

NAMES = {
    "sweeping": {"sweep.vs_requests", "sweep.polls_per_second", "sweep.requests_per_second"},
    "delivering": {"deliver.vs_requests", "deliver.attempts_per_second", "deliver.requests_per_second"},
    "storage": {
        "storage.calls_per_operation",
        "storage.calls_per_operation.table",
        "storage.calls_per_operation.queue",
        "storage.calls_per_poll",
        "storage.dollars_per_million",
    },
    "growth": {
        "growth.operations",
        "growth.operations.in_memory",
        "growth.waiting",
        "growth.waiting.calls",
        "growth.finished",
        "growth.finished.calls",
        "growth.waiting.in_memory",
        "growth.finished.in_memory",
        "growth.queries_ms",
        "growth.queries_ms.few",
        "list.finished",
        "list.finished.in_memory",
    },
    "memory": {"memory.mb_at_100k", "memory.passes"},
    "imports": {"import.seconds", "import.libraries", "import.ratio"},
    "started": {
        "terminal_to_post.seconds",
        "terminal_to_post.longest",
        "register.p50_ms",
        "register.p99_ms",
        "register.per_second",
        "register.memory.p99_ms",
        "register.memory.per_second",
    },
    "instances": {
        f"{way}.{figure}"
        for way in ("instances", "instances.with_room")
        for figure in ("speedup.two", "speedup.four", "deliveries_per_second")
    },
    "hosted": {
        "host.register.per_second",
        "host.deliveries_per_second",
        "host.worker.cpu_ms_per_life",
        "host.worker.memory_mb",
        "host.terminal_to_post.seconds",
    },
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_yields_sane_figures_by_their_names(name: str) -> None:
    """The sizes are tiny, and the speed is not checked."""
    if name == "hosted":
        tool("functions-host")

    figures = MEASURES[name](TINY)

    assert set(figures) == NAMES[name]
    assert all(0 <= value < math.inf for value in figures.values())


def test_without_microsofts_host_nothing_of_the_host_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert MEASURES["hosted"](TINY) == {}


def test_every_goal_is_a_figure_that_is_measured() -> None:
    """A renamed figure would lose its goal unnoticed."""
    assert set(GOALS) <= {figure for figures in NAMES.values() for figure in figures}


def test_a_missed_goal_is_reported_with_its_reason() -> None:
    """A goal that is met is not reported."""
    figures = {name: goal.value for name, goal in GOALS.items()} | {"terminal_to_post.seconds": 1.3}

    reported = missed(figures)

    assert "`terminal_to_post.seconds` is 1.3, not 1: the host looks at an idle queue" in reported
    assert reported.count("\n- ") == 1
    assert "| `terminal_to_post.seconds` | 1.3 | ≤ 1 | **missed** |" in page(figures, [], "# Schedule", took=1)


def test_a_ratio_is_the_median_over_the_rounds() -> None:
    """The first round is dropped, and one slow round changes nothing."""
    first, second = iter([9.0, 1.0, 2.0, 40.0]), iter([9.0, 2.0, 2.0, 2.0])

    pair = Pair.alternating(lambda: next(first), lambda: next(second), 3)

    assert pair.ratio == 1


def test_the_libraries_are_those_of_the_app() -> None:
    """The app's distribution lists them: neither the project's modules nor libraries of the command line alone."""
    named = imports.libraries()

    assert {"azure.functions", "requests", "pydantic"} <= set(named)
    assert not {name for name in named if name.startswith(("bridge", "typer", "rich"))}
