"""Microsoft's KQL parser accepts every query, and resolves every table, column and function."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local.azurite.install import node_with_packages
from tests.infra.queries import all_queries, document_queries, search_queries, workbook_queries

KUSTO = Path(__file__).parent / "kusto"
#: Columns of the tables in the queries, from the reference of Azure Monitor.
SCHEMAS = json.loads((KUSTO / "schemas.json").read_text())

LINES = "AppTraces\n| extend line = parse_json(Message)\n"


def diagnostics(queries: Mapping[str, str]) -> dict[str, list[str]]:
    """Parse and bind queries. Returns the parser's messages per query, with line numbers."""
    node = node_with_packages(KUSTO, "Microsoft's parser of Kusto queries, once", print)
    given = json.dumps({"schemas": SCHEMAS, "queries": queries})
    done = subprocess.run(
        [node, KUSTO / "bind.cjs"], input=given, capture_output=True, text=True, check=True, timeout=300
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_every_query_parses_and_binds() -> None:
    found = diagnostics(all_queries())

    assert {name: output for name, output in found.items() if output} == {}


def test_every_query_is_checked() -> None:
    kinds = {name.partition(":")[0] for name in all_queries()}

    assert kinds == {"alert", "search", "workbook", "document"}
    assert "infra/README.md#1" in document_queries()
    assert set(search_queries()) == {"by-host", "by-webhook-id", "slowest-receivers"}


#: Wrong queries, each with part of the parser's message.
PLANTED = {
    f"{LINES}| summarize count() by to = tostring(line.to)": "['to']",
    f"{LINES}| extend latest = now()\n| where latest - now() > 1m": "['latest']",
    f"{LINES}| where line.event = 'a'": "type bool",
    "AppTraces\n| where Mesage == ''": "'Mesage' does not refer",
    "Traces\n| take 1": "'Traces' does not refer",
    "AppRequests\n| where Message == ''": "'Message' does not refer",
    "AppTraces\n| extend a = tojson(Message)": "'tojson' does not refer",
    "AppTraces\n| where TimeGenerated between (1 ..": "Missing",
    "AppTraces\n| summarize count() by bin(TimeGenerated)": "'bin' is not compatible",
}


def test_a_wrong_query_is_found() -> None:
    found = diagnostics({query: query for query in PLANTED})

    assert {query: found[query] for query, words in PLANTED.items() if words not in " ".join(found[query])} == {}


def test_the_workbook_searches_with_the_queries_of_the_files() -> None:
    charts = workbook_queries()
    pairs = {
        "attempts-of-one-webhook-id": ("by-webhook-id", "msg_0123456789abcdef0123456789abcdef", "{WebhookId}"),
        "what-was-sent-to-one-host": ("by-host", "hooks.example.com", "{Host}"),
        "slowest-receivers-in-milliseconds": ("slowest-receivers", "", ""),
    }

    for chart, (name, example, parameter) in pairs.items():
        text = "\n".join(line for line in search_queries()[name].splitlines() if not line.startswith("//"))
        assert example in text
        assert charts[chart].startswith(text.replace(f"'{example}'", f"'{parameter}'").rpartition("\n| ")[0])
