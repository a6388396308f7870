"""What was measured of speed and cost, for people: each figure beside its goal, and what was missed and why."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from bench.measuring import Figures
from bench.report import Goal

GOALS: Mapping[str, Goal] = {
    "sweep.vs_requests": Goal(0.8, at_least=True),
    "deliver.vs_requests": Goal(0.6, at_least=True),
    "storage.calls_per_operation": Goal(10),
    "storage.calls_per_poll": Goal(0.1),
    "growth.waiting": Goal(1.2),
    "growth.waiting.calls": Goal(1.2),
    "growth.waiting.in_memory": Goal(1.2),
    "growth.finished": Goal(1.2),
    "growth.finished.calls": Goal(1.2),
    "growth.finished.in_memory": Goal(1.2),
    "list.finished": Goal(1.5),
    "list.finished.in_memory": Goal(1.5),
    "memory.mb_at_100k": Goal(100),
    "import.ratio": Goal(1.6),
    "terminal_to_post.seconds": Goal(1),
    "instances.speedup.two": Goal(1.8, at_least=True),
    "instances.speedup.four": Goal(3.2, at_least=True),
    "instances.with_room.speedup.two": Goal(1.8, at_least=True),
    "instances.with_room.speedup.four": Goal(3.2, at_least=True),
    "host.register.per_second": Goal(250, at_least=True),
    "host.deliveries_per_second": Goal(80, at_least=True),
    "host.worker.cpu_ms_per_life": Goal(12),
    "host.worker.memory_mb": Goal(120),
    "host.terminal_to_post.seconds": Goal(0.4),
}

_SHARED = "a delivery takes some 6 ms of processor time of its instance ([instance.svg](instance.svg)) and 5 ms of \
the one Azurite, so one instance at full speed nearly fills the machine of two cores; with two attempts at once for \
each, which leaves room, see `instances.with_room`"

_EMULATED = "the calls are the same, and the emulator, which keeps all rows in one list, takes longer for each range \
(`growth.queries_ms` for eight that find nothing, `.few` in the small table) and each write, where the service finds \
rows by their keys; over a table in memory that does so too, see `.in_memory`"

_HOSTED = "in a sampled profile (`py-spy`) half of the worker's time is Microsoft's worker and gRPC, and two thirds of \
the rest are the pipelines of the storage clients; host, Azurite, Speech and receiver share the two cores with it"

#: The known reasons for missed goals, by figure. A reason is written beside its missed goal.
_REASONS: Mapping[str, str] = {
    "deliver.vs_requests": "the POST itself, guard and deadline included, takes less than a bare one; what remains is "
    "reading, claiming, signing and recording, 0.2 ms of Python in all ([deliver.svg](deliver.svg))",
    "storage.calls_per_operation": "all 1,000 deliveries go to one host, whose share of the queue is 100 messages: the "
    "others take a turn in their due rows, half a call each",
    "growth.waiting": _EMULATED,
    "growth.finished": _EMULATED,
    "list.finished": _EMULATED,
    "terminal_to_post.seconds": "the host looks at an idle queue every second (`maxPollingInterval` of host.json), and "
    "where little comes that is nearly all of the wait; looking more often costs queue calls while nothing happens",
    "host.register.per_second": _HOSTED,
    "host.deliveries_per_second": _HOSTED,
    "host.worker.cpu_ms_per_life": _HOSTED,
    "instances.speedup.two": _SHARED,
}

_HEAD = """# Speed and cost

Written by `make bench` in {took:.0f} s, on {cores} cores of {machine}, Python {python}, requests {requests}, \
azure-data-tables {tables}. Everything runs on this machine, servers in processes of their own; what is compared was \
measured in turns, and a figure is the median of the rounds.

- `sweep.vs_requests`: polls per second of a sweep of 1,000, with storage in memory, over those of a bare loop of 16 \
threads, each with a `requests.Session`; the server answers at once.
- `deliver.vs_requests`: attempts per second (read, claim, sign, guard, POST, record; storage in memory, 4 threads) \
over bare POSTs of the same size on 4 kept connections; lines of the log are handed on in memory, as the worker of \
Azure Functions does.
- `storage`: requests to Azurite, queue included, from registering to the record of the delivery, of 1,000 operations \
that are due together, polled 12 times each, and whose messages are taken one by one. What the host asks of an idle \
queue is not in it. The dollars are for table and queue calls of a million operations, at the prices of \
[infra](../infra/README.md).
- `growth`: a sweep of 500 due operations over Azurite, with `growth.operations` others that wait against 1,000, and \
with as many that have ended against none, in time and in calls. `list.finished` is the first page of the delivered \
ones, in a large table against 1,000. `.in_memory` is the same over a table in memory that finds a range by its keys.
- `memory`: resident memory above idle while 100,000 due operations are swept, with all that is read asked for.
- `import`: the import of `function_app` in a fresh interpreter, over importing the libraries that it names.
- `terminal_to_post`: from the poll that saw the end to the POST, at the started app over Azurite, one at a time.
- `register`: 16 clients at the started app over Azurite; `.memory` calls the use case, over the table in memory.
- `instances`: deliveries per second of two and four started apps over one Azurite, over one's; receivers of 50 ms. \
`.with_room` lets each make two attempts at once, so that the machine has room for four.
- `host`: the started app in Microsoft's function host, with the load generator and Azurite on the same cores. All \
others of a started app are of the local host. `worker` is the process that runs the app: its processor time for one \
registration with its polls and its delivery, and its memory after the load.

| figure | value | goal | |
| --- | ---: | ---: | --- |
"""


def page(figures: Figures, costs: Sequence[tuple[str, float]], schedule: str, *, took: float) -> str:
    """Write the page, with that of the schedule at its end."""
    head = _HEAD.format(
        took=took,
        cores=os.cpu_count(),
        machine=platform.platform(),
        python=platform.python_version(),
        requests=version("requests"),
        tables=version("azure-data-tables"),
    )
    rows = "\n".join(_row(name, figures[name]) for name in sorted(figures))
    return "\n\n".join((head + rows, missed(figures), _HISTORY, _costs(costs), schedule.replace("# ", "## ", 1)))


def _row(name: str, value: float) -> str:
    goal = GOALS.get(name)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if goal is None:
        return f"| `{name}` | {shown} | | |"
    sign = "≥" if goal.at_least else "≤"
    return f"| `{name}` | {shown} | {sign} {goal.value:g} | {'' if goal.is_met(value) else '**missed**'} |"


def missed(figures: Figures) -> str:
    """Say which goals were missed, and why as far as that is known."""
    lines = [
        f"- `{name}` is {figures[name]:.3g}, not {goal.value:g}: {_REASONS.get(name, 'the reason is not known')}."
        for name, goal in GOALS.items()
        if name in figures and not goal.is_met(figures[name])
    ]
    return "Missed:\n\n" + "\n".join(lines) if lines else "Every goal of speed and cost is met."


_HISTORY = """What was found, and what it came to (the same machine, with other work):

| figure | before | after | |
| --- | ---: | ---: | --- |
| `sweep.vs_requests` | 0.50 | 0.71 | one thread watches over all deadlines, instead of a timer thread for each |
| `sweep.vs_requests` | 0.71 | 0.82 | threads take the next poll by themselves, a request is priced once for a \
duration model, columns are known once, no session's defaults are merged |
| `deliver.vs_requests` | 0.34 | 0.38 | the same, and a table in memory that does not copy its partition |
| `deliver.vs_requests` | 0.38 | 0.46 | a callback goes out in one piece, keys are derived once |
| `deliver.vs_requests` | 0.42 | 0.49 | a step writes what has changed in a row, and copies it once |
| `deliver.vs_requests` | 0.49 | 0.55 | no future for each attempt and no file for the log, as where it is deployed |
| `deliver.vs_requests` | 0.55 | 0.59 | no proxy is looked for, no cookie read, no URL normalised twice |
| `deliver.vs_requests` | 0.59 | 0.61 | of an answer no header is copied, no address is judged twice |
| a commit of five rows over Azurite, ms | 8.5 | 2.0 | a transaction is written and read without a dozen threads |
| `instances.deliveries_per_second` | 50 | 129 | the same |"""


def _costs(costs: Sequence[tuple[str, float]]) -> str:
    """List the dearest of what an import consists of."""
    rows = "\n".join(f"| {name} | {milliseconds:.0f} |" for name, milliseconds in costs[:15])
    return f"What importing `function_app` consists of, by itself and with tracing, which slows it:\n\n\
| module or package | ms |\n| --- | ---: |\n{rows}"
