"""README.md, docs/ and host.json agree with the code."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import function_app
from bridge.api.openapi import document
from bridge.domain.host_limits import CLASS_PLACES, PLACES, HostClass
from bridge.domain.outcome import Failure
from bridge.domain.retry import SCHEDULE
from bridge.settings import Settings, read_settings
from tests.support import documents
from tests.support.harness import ENVIRONMENT

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HOST = json.loads((ROOT / "host.json").read_text())

#: An app returns its functions only once.
FUNCTIONS = function_app.app.get_functions()

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


#: All pages, except those of packages.
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "infra").glob("*.md"), *DOCS.rglob("*.md")]


def page(name: str) -> str:
    """Read a page of docs/."""
    return (DOCS / name).read_text()


def section(name: str, title: str) -> str:
    """Return a section of a page."""
    return page(name).split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """Return the table rows with code in the first cell."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


#: The table of settings.
SETTINGS = page("settings.md").split("\n## ", 1)[0]


def names() -> dict[str, str]:
    """Return the fields of the settings by variable."""
    return {field.alias: name for name, field in Settings.model_fields.items() if field.alias is not None}


def test_exactly_the_existing_settings_are_documented() -> None:
    """The reverse holds too."""
    documented = {row[0].strip("`") for row in rows(SETTINGS)}

    assert documented == set(names())


@pytest.mark.parametrize(
    "row", [row for row in rows(SETTINGS) if re.fullmatch(r"`[^`]+`", row[-1])], ids=lambda row: str(row[0])
)
def test_defaults_match_the_code(row: list[str]) -> None:
    name, default = row[0].strip("`"), row[-1].strip("`")

    output = read_settings({**ENVIRONMENT, name: default})

    assert getattr(output, names()[name]) == Settings.model_fields[names()[name]].default


def test_the_retry_schedule_matches_the_code() -> None:
    """Compared wait by wait."""
    sentence = re.search(r"Attempts follow after (.+?)\. Each wait", page("receiving.md"))
    assert sentence is not None
    waits = re.findall(r"(\d+) (s|min|h)\b", sentence[1])

    assert [timedelta(**{UNITS[unit[0]]: int(number)}) for number, unit in waits] == list(SCHEDULE)


def bindings(kind: str) -> list[dict[str, Any]]:
    """Return the triggers that the app reports to the host."""
    found = (binding.get_dict_repr() for function in FUNCTIONS for binding in function.get_bindings())
    return [binding for binding in found if binding["type"] == kind]


def test_exactly_the_existing_routes_are_documented() -> None:
    """Compared: method and path."""
    documented = {tuple(row[0].strip("`").split("?")[0].split(" ")) for row in rows(section("api.md", "Calls"))}
    prefix = HOST["extensions"]["http"]["routePrefix"]

    served = {
        (method.value, f"/{prefix}/{each['route']}") for each in bindings("httpTrigger") for method in each["methods"]
    }

    assert served == documented


def test_exactly_the_existing_routes_are_described() -> None:
    """Compared: name, method, path and level."""
    described = {
        (
            operation["operationId"].removesuffix("_head"),
            method.upper(),
            path.removeprefix("/"),
            "anonymous" if operation.get("security") == [] else "function",
        )
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    }

    served = {
        (function.get_function_name(), method.value, each["route"], each["authLevel"].value)
        for function in FUNCTIONS
        for each in (binding.get_dict_repr() for binding in function.get_bindings())
        if each["type"] == "httpTrigger"
        for method in each["methods"]
    }

    assert served == described


def test_only_routes_without_data_are_public() -> None:
    """All other routes require a key."""
    levels = {each["route"]: each["authLevel"].value for each in bindings("httpTrigger")}

    assert {route for route, level in levels.items() if level == "anonymous"} == {
        "health",
        "signing-keys",
        "openapi.json",
        "dashboard",
    }
    assert set(levels.values()) == {"anonymous", "function"}


def test_the_timer_uses_the_schedule_in_the_settings() -> None:
    """The timer does not run at startup. The monitor repeats a tick that was missed while the app was down."""
    [timer] = bindings("timerTrigger")

    assert (timer["schedule"], timer["runOnStartup"], timer["useMonitor"]) == ("%BRIDGE_POLL_SCHEDULE%", False, True)


def test_host_json_agrees_with_the_app() -> None:
    """Compared: the queue's encoding, the function timeout, and the retry of a call."""
    queues = HOST["extensions"]["queues"]

    assert HOST["version"] == "2.0"
    assert HOST["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    assert HOST["functionTimeout"] == "00:05:00"
    assert queues["messageEncoding"] == "base64"
    assert (queues["maxPollingInterval"], queues["visibilityTimeout"]) == ("00:00:01", "00:00:30")
    assert queues["batchSize"] + queues["newBatchThreshold"] == PLACES
    held_for_long = CLASS_PLACES[HostClass.SLOW] + CLASS_PLACES[HostClass.UNPROVEN]
    assert queues["newBatchThreshold"] >= held_for_long  # the host gets the next batch although they are occupied


def test_slow_receivers_leave_threads_for_other_work() -> None:
    """The host runs batchSize plus newBatchThreshold messages at once, and some threads remain free."""
    queues = HOST["extensions"]["queues"]
    at_once = queues["batchSize"] + queues["newBatchThreshold"]
    output = re.search(r"`PYTHON_THREADPOOL_THREAD_COUNT` for the worker as well: `(\d+)`", page("settings.md"))
    assert output is not None
    started = (ROOT / "local" / "settings.py").read_text()

    assert f"up to {at_once} queue messages at once" in page("settings.md")
    assert int(output[1]) >= at_once + 8
    assert f'"PYTHON_THREADPOOL_THREAD_COUNT": "{output[1]}"' in started


def test_generated_parts_are_up_to_date() -> None:
    """`make docs` writes them."""
    assert [path.name for path, text in documents.generated().items() if path.read_text() != text] == []


def test_every_kind_of_failure_is_documented() -> None:
    documented = [row[0].strip("`") for row in rows(section("receiving.md", "Your answer, and retries"))]

    assert documented == list(Failure)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, in GitHub's form."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    broken = []
    for link in links:
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []
