"""README.md and host.json are held against the code."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import function_app
from bridge.api.description.calls import CALLS
from bridge.domain.callback_url import REFUSED
from bridge.domain.host_limits import CLASS_PLACES, PLACES, HostClass
from bridge.domain.outcome import Failure
from bridge.domain.retry import SCHEDULE
from bridge.settings import Settings, read_settings
from tests.support.harness import ENVIRONMENT

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
HOST = json.loads((ROOT / "host.json").read_text())

#: An app can be asked for its functions only once.
FUNCTIONS = function_app.app.get_functions()

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def section(title: str) -> str:
    """Take out a section of the README."""
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    """Read the first table of a section."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def names() -> dict[str, str]:
    """Name the settings by their variables, with the fields that they fill."""
    return {field.alias: name for name, field in Settings.model_fields.items() if field.alias is not None}


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    """The table is the whole truth."""
    documented = {row[0].strip("`") for row in rows("Settings")}

    assert documented == set(names())


@pytest.mark.parametrize(
    "row", [row for row in rows("Settings") if re.fullmatch(r"`[^`]+`", row[-1])], ids=lambda row: str(row[0])
)
def test_defaults_are_those_of_the_code(row: list[str]) -> None:
    """As the table states them."""
    name, default = row[0].strip("`"), row[-1].strip("`")

    said = read_settings({**ENVIRONMENT, name: default})

    assert getattr(said, names()[name]) == Settings.model_fields[names()[name]].default


def test_the_retry_schedule_is_that_of_the_code() -> None:
    """Wait by wait."""
    sentence = re.search(r"is tried again after (.+?), each up to", TEXT)
    assert sentence is not None
    waits = re.findall(r"(\d+) (s|min|h)\b", sentence[1])

    assert [timedelta(**{UNITS[unit[0]]: int(number)}) for number, unit in waits] == list(SCHEDULE)


def bindings(kind: str) -> list[dict[str, Any]]:
    """Read what the app tells the host of its functions."""
    found = (binding.get_dict_repr() for function in FUNCTIONS for binding in function.get_bindings())
    return [binding for binding in found if binding["type"] == kind]


def test_every_route_is_in_the_readme_and_no_other() -> None:
    """Method and path."""
    documented = {tuple(row[0].strip("`").split("?")[0].split(" ")) for row in rows("Registering") if "/api/" in row[0]}
    prefix = HOST["extensions"]["http"]["routePrefix"]

    served = {
        (method.value, f"/{prefix}/{each['route']}") for each in bindings("httpTrigger") for method in each["methods"]
    }

    assert served == documented


def test_every_route_is_in_the_description_and_no_other() -> None:
    """By name, method, path and level."""
    described = {
        (call.name, call.method.upper(), call.path.removeprefix("/"), "anonymous" if call.is_open else "function")
        for call in CALLS
    }

    served = {
        (function.get_function_name(), method.value, each["route"], each["authLevel"].value)
        for function in FUNCTIONS
        for each in (binding.get_dict_repr() for binding in function.get_bindings())
        if each["type"] == "httpTrigger"
        for method in each["methods"]
    }

    assert served == described


def test_only_what_holds_no_data_is_open_to_everybody() -> None:
    """All other routes need a key."""
    levels = {each["route"]: each["authLevel"].value for each in bindings("httpTrigger")}

    assert {route for route, level in levels.items() if level == "anonymous"} == {
        "health",
        "signing-keys",
        "openapi.json",
        "dashboard",
    }
    assert set(levels.values()) == {"anonymous", "function"}


def test_the_timer_takes_its_schedule_from_the_settings() -> None:
    """Not at startup. The monitor makes up for a tick that was missed while the app was down."""
    [timer] = bindings("timerTrigger")

    assert (timer["schedule"], timer["runOnStartup"], timer["useMonitor"]) == ("%BRIDGE_POLL_SCHEDULE%", False, True)


def test_host_json_is_what_the_app_relies_on() -> None:
    """The queue's encoding, the time a function has, the retry of a call."""
    queues = HOST["extensions"]["queues"]

    assert HOST["version"] == "2.0"
    assert HOST["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    assert HOST["functionTimeout"] == "00:05:00"
    assert queues["messageEncoding"] == "base64"
    assert (queues["maxPollingInterval"], queues["visibilityTimeout"]) == ("00:00:01", "00:00:30")
    assert queues["batchSize"] + queues["newBatchThreshold"] == PLACES
    held_for_long = CLASS_PLACES[HostClass.SLOW] + CLASS_PLACES[HostClass.UNPROVEN]
    assert queues["newBatchThreshold"] >= held_for_long  # the host takes the next batch although they are occupied


def test_slow_receivers_leave_threads_for_everybody_else() -> None:
    """The host runs batchSize and newBatchThreshold messages at once; the README and the local start say more."""
    queues = HOST["extensions"]["queues"]
    at_once = queues["batchSize"] + queues["newBatchThreshold"]
    said = re.search(r"`PYTHON_THREADPOOL_THREAD_COUNT` for the worker as well: `(\d+)`", TEXT)
    assert said is not None
    started = (ROOT / "local" / "settings.py").read_text()

    assert f"up to {at_once} queue messages at once" in TEXT
    assert int(said[1]) >= at_once + 8
    assert f'"PYTHON_THREADPOOL_THREAD_COUNT": "{said[1]}"' in started


def test_the_refused_networks_are_those_of_the_code() -> None:
    """The short notation of the README, written out."""
    listed = re.findall(r"`([0-9a-f.:]+(?:/\d+)?)`", section("Where callbacks may go").split("Not public", 1)[1])

    def written_out(text: str) -> str:
        address, _, length = text.partition("/")
        if ":" in address:
            return text
        return ".".join([*address.split("."), "0", "0", "0"][:4]) + f"/{length or 32}"

    assert [written_out(text) for text in listed] == [str(network) for network in REFUSED]


def test_every_class_of_failure_is_in_the_readme() -> None:
    """And the one that nobody could record."""
    documented = re.findall(r"^  \| `([a-z-]+)` \|", section("Receiving"), re.MULTILINE)

    assert documented == [*Failure, "lost"]
