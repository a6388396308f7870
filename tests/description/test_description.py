"""Public tools accept the OpenAPI description. The description matches the code and the README's examples."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import validate

from bridge.api.errors import ErrorCode
from bridge.api.handlers import Handlers
from bridge.api.openapi import document, errors_of
from bridge.api.routes import ALL_ROUTES
from local.azurite.install import node_with_packages
from tests.api_examples import FILE, written
from tests.support.description import hold_answer, strict, validator
from tests.support.harness import Harness
from tests.support.http import Client
from tests.support.json_value import Json

ROOT = Path(__file__).parents[2]
README, API = (ROOT / "README.md").read_text(), (ROOT / "docs" / "api.md").read_text()

COLD = "import sys, function_app; print(any(name.startswith('bridge.api.openapi') for name in sys.modules))"


def test_public_validator_accepts_the_description() -> None:
    """The document is OpenAPI 3.1 with webhooks."""
    validate(document())


def test_public_linter_accepts_the_description() -> None:
    """Strict rules, and examples match their schemas."""
    folder = Path(__file__).parent
    node = node_with_packages(folder, "the linter of the description, once", print)

    done = subprocess.run(
        [node, folder / "lint.mjs"], input=json.dumps(document()), capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == []


def test_every_code_of_a_problem_is_described_and_no_other() -> None:
    """Each is raised somewhere, and some route names it."""
    code = "".join((ROOT / "bridge" / "api" / name).read_text() for name in ("errors.py", "fields.py", "handlers.py"))

    described = {code for route in ALL_ROUTES for code in errors_of(route)}

    assert {ErrorCode[name] for name in re.findall(r"\bErrorCode\.([A-Z_]+)", code)} == set(ErrorCode)
    assert described == set(ErrorCode)


def test_examples_match_the_answers_of_the_bridge() -> None:
    """`python -m tests.api_examples` rewrites them."""
    assert FILE.read_text(encoding="utf-8") == written()


def test_every_success_with_a_body_in_json_has_an_example() -> None:
    """The description has no example of the description."""
    without = {
        (operation["operationId"], status)
        for path in document()["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if status.startswith("2") and "application/json" in response.get("content", {})
        if not response["content"]["application/json"].get("examples")
    }

    assert without == {("describe", "200")}


def test_every_operation_is_summarised_and_described() -> None:
    operations = [operation for path in document()["paths"].values() for operation in path.values()]

    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_cold_start_does_not_import_the_description() -> None:
    """The module is imported at the first request for the description."""
    done = subprocess.run([sys.executable, "-c", COLD], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False"


def test_description_is_not_sent_again_with_its_etag(bridge: Harness) -> None:
    """An ETag gives 304, and storage is not read."""
    client = Client.of(bridge)
    first = client.call(Handlers.describe, "/openapi.json")

    again = client.call(Handlers.describe, "/openapi.json", headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status, first.body) == (200, document())
    assert (again.status, again.body) == (304, None)
    assert bridge.table.taken() == {}


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (418, {"Cache-Control": "no-store"}, {"status": "ok", "version": "1"}),
        (200, {}, {"status": "ok", "version": "1"}),
        (200, {"Cache-Control": "no-store", "X-Own": "1"}, {"status": "ok", "version": "1"}),
        (200, {"Cache-Control": "no-store"}, {"status": "ok", "version": "1", "colour": "blue"}),
        (200, {"Cache-Control": "no-store"}, {"status": "unwell", "version": "1"}),
        (200, {"Cache-Control": "no-store"}, {"status": "ok"}),
        (200, {"Cache-Control": "no-store"}, {}),
        (200, {"Cache-Control": "no-store"}, None),
    ],
)
def test_an_undescribed_answer_is_detected(status: int, headers: dict[str, str], body: object) -> None:
    """All API tests rely on this check of extra and missing statuses, headers and fields."""
    with pytest.raises((AssertionError, ValidationError)):
        hold_answer("health", status, headers, body)


def without_required(schema: Json) -> Json:
    """Let a schema take examples that are shortened."""
    if isinstance(schema, list):
        return [without_required(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: without_required(value) for name, value in schema.items() if name != "required"}


def test_the_first_example_of_the_readme_matches_the_description() -> None:
    """The example has the request, the shortened answer, and the callback."""
    [sent] = re.findall(r'-d "(\{\\"operationId\\".*\})"', README)
    [answered] = re.findall(r'^(\{"id": .*?"\})$', README, re.MULTILINE | re.DOTALL)
    [callback] = re.findall(r'^ +(\{"type":.*\})$', README, re.MULTILINE)
    schemas = strict(without_required(document()["components"]["schemas"]))
    del schemas["Registered"]["oneOf"]  # the shortened answer lacks the operation

    in_shell = sent.replace('\\"', '"').replace("$id", json.loads(callback)["data"]["operationId"])
    validator("RegistrationBody", is_strict=False).validate(json.loads(in_shell))
    shortened = Draft202012Validator({"$ref": "#/components/schemas/Registered", "components": {"schemas": schemas}})
    shortened.validate(json.loads(answered.replace(" …,", "")))
    validator("OperationEvent").validate(json.loads(callback))


def test_bodies_in_the_documentation_match_the_description() -> None:
    """A redelivery of many, and headers of one's own."""
    [order] = re.findall(r"`POST /api/redeliver` with `(\{.*?\})`", API)
    [headers] = re.findall(r'`"headers": (\{.*?\})`', API)

    validator("RedeliverBody").validate(json.loads(order))
    body = {"operationId": "operation-1", "callbackUrl": "https://hooks.example.com/"}
    validator("RegistrationBody", is_strict=False).validate({**body, "headers": json.loads(headers.replace("…", "x"))})


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ("Ping", r"The answer is `\{(.*?)\}`"),
        ("SigningSecret", r"before a registration exists: `\{(.*?)\}`"),
        ("Redelivery", r"The answer, `\{(.*?)\}`, lists"),
        ("PublicKey", r'newest first: `\{"value": \[\{(.*?)\}\]\}`'),
        ("Error", r'Azure\'s shape, `\{"error": \{(.*?)\}\}`'),
    ],
)
def test_documented_fields_match_the_description(schema: str, sentence: str) -> None:
    """The order is the same, and no field is missing."""
    [listed] = re.findall(sentence, API)

    assert re.findall(r'"(\w+)"', listed) == list(document()["components"]["schemas"][schema]["properties"])


def test_fields_of_a_registration_match_the_documentation() -> None:
    """The table lists the fields of a registration."""
    listed = re.findall(r"^\| `(\w+)` \|", API.split("\n## Registering\n")[1].split("\n## ")[0], re.MULTILINE)

    assert set(listed) == set(document()["components"]["schemas"]["RegistrationBody"]["properties"])
