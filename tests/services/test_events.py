"""Promises about events: the samples and schemas under `docs/events/` match the code."""

import json

import pytest
from cloudevents.conversion import to_json
from cloudevents.http import from_http
from jsonschema import Draft202012Validator, ValidationError

from bridge.domain.events import Format, Message
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State
from tests.events import FOLDER, SIGNED_REQUEST, message, samples, schema, signed_request
from tests.support.cli import type_in
from tests.support.description import strict
from tests.support.harness import harness
from tests.support.http import Client
from tests.support.json_value import Json

SAMPLES = {name: (kind, sample) for name, kind, sample in samples()}
HOOK = "https://receiver.example.com/hook"


def schema_of(kind: Format) -> Json:
    """Read the published schema of a format."""
    return json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))


def test_each_type_has_exactly_one_sample() -> None:
    """Both formats are covered."""
    others = {SIGNED_REQUEST, *(f"{kind}.schema.json" for kind in Format)}

    assert {path.name for path in FOLDER.glob("*.json")} == {*SAMPLES, *others}


def test_the_signed_request_matches_the_code_and_a_package_verifies_it() -> None:
    published = json.loads((FOLDER / SIGNED_REQUEST).read_text(encoding="utf-8"))
    done = type_in(
        "verify",
        str(FOLDER / SIGNED_REQUEST),
        *("--public-key", published["publicKey"], "--at", published["receivedAt"]),
        *("--subscriber", published["subscriber"], "--callback-url", published["audience"]),
        environment={"WEBHOOK_SECRET": published["secret"]},
    )

    assert published == signed_request()
    assert (done.exit, done.out.splitlines()[-1]) == (0, "genuine")


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_matches_the_code(name: str) -> None:
    """The sample matches byte for byte, except for spaces. The schema has every field."""
    kind, written = SAMPLES[name]

    published = json.loads((FOLDER / name).read_text(encoding="utf-8"))

    assert published == json.loads(written.body)
    Draft202012Validator(strict(schema_of(kind))).validate(published)


@pytest.mark.parametrize("kind", Format)
def test_schema_matches_the_description(kind: Format) -> None:
    """The API description's webhooks and the published schema are equal."""
    assert schema_of(kind) == schema(kind)


def test_schema_accepts_added_fields_but_no_missing_ones() -> None:
    """Receivers are advised to do the same."""
    validator = Draft202012Validator(schema_of(Format.STANDARD))
    event = json.loads(message(FinalStatus.SUCCEEDED).body)

    validator.validate({**event, "data": {**event["data"], "colour": "blue"}})
    del event["data"]["audience"]
    with pytest.raises(ValidationError):
        validator.validate(event)


@pytest.mark.parametrize("name", [name for name, (kind, _) in SAMPLES.items() if kind is Format.CLOUDEVENTS])
def test_the_sdk_of_cloudevents_accepts_the_event(name: str) -> None:
    """The SDK parses the structured mode, and writes the same event."""
    kind, written = SAMPLES[name]

    event = from_http({"content-type": kind.content_type}, written.body)

    assert (event["id"], event["type"], event["specversion"]) == (written.id, written.type, "1.0")
    assert event.data["audience"] == "https://hooks.example.com"
    assert json.loads(to_json(event)) == json.loads(written.body)


def test_both_formats_have_the_same_data() -> None:
    """Id, type and `data` are equal."""
    standard, cloud = (message(FinalStatus.FAILED, kind) for kind in Format)

    assert (standard.id, standard.type) == (cloud.id, cloud.type)
    assert data_of(standard) == data_of(cloud)


def data_of(written: Message) -> Json:
    """Return the `data` of a message."""
    return json.loads(written.body)["data"]


def test_callback_is_a_cloudevent_on_request() -> None:
    """The callback has the media type and the usual signature headers. Lists show the format."""
    bridge = harness()
    client = Client.of(bridge)
    created = client.register({"operationId": "operation-1", "callbackUrl": HOOK, "format": "cloudevents"})
    bridge.upstream.script("operation-1", "Succeeded")

    bridge.sweep()
    bridge.deliver_all()

    [posted] = bridge.sender.posted
    assert created.body["format"] == "cloudevents"
    assert posted.headers["Content-Type"] == "application/cloudevents+json"
    event = from_http({"content-type": posted.headers["Content-Type"]}, posted.body)
    assert (event["id"], event["source"]) == (posted.headers["webhook-id"], "/speech-webhook-bridge/default")
    assert "webhook-signature" in posted.headers
    [entry] = bridge.queries.page([State.DELIVERED], limit=10, cursor=None).entries
    assert entry.format is Format.CLOUDEVENTS


def test_another_format_is_other_content() -> None:
    """The repeated call gets 409."""
    client = Client.of(harness())
    body = {"operationId": "operation-1", "callbackUrl": HOOK}

    assert client.register(body).status == 201
    assert client.register({**body, "format": "cloudevents"}).status == 409
