"""The message of a registration: the exact bytes that receivers get, signed at the call, for the owner."""

import json
import logging
from datetime import timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from bridge.api.handlers import Handlers
from bridge.dependencies import real_clock
from bridge.domain.registration import State
from tests.support.harness import Harness
from tests.support.http import Answer, Client
from tests.support.tenant import ANN, BOB, ROOT, KeyServer, guarded_by

HOOK = "https://receiver.example.com/hook?code=secret-query"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK, "metadata": {"grüße": '🎬 " \\ \u2028', "n": 10**20}}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def message(client: Client, public_id: str) -> Answer:
    """Read the message of a registration."""
    return client.call(Handlers.read_message, f"/registrations/{public_id}/message", id=public_id)


def end(bridge: Harness, *statuses: int) -> None:
    """End the operation, and run the attempts of one sweep."""
    bridge.sender.script(HOOK, *statuses or (200,))
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


@pytest.mark.parametrize("format", ["standard", "cloudevents"])
def test_a_message_is_what_the_receiver_got_byte_for_byte(bridge: Harness, format: str) -> None:
    client = Client.of(bridge)
    public_id = client.register({**BODY, "format": format}, traceparent=TRACE).body["id"]
    end(bridge)

    answer = message(client, public_id)

    [posted] = bridge.sender.posted
    assert answer.status == 200
    assert answer.body["body"].encode() == posted.body
    assert answer.body["headers"] == {name.lower(): value for name, value in posted.headers.items()}
    assert answer.body["headers"]["traceparent"] == TRACE


def test_the_signature_is_made_at_the_call_and_verifies(bridge: Harness) -> None:
    """It has a new time, so a receiver accepts the message days after the delivery."""
    bridge.clock.advance(real_clock() - timedelta(days=3) - bridge.clock())
    client = Client.of(bridge)
    registered = client.register(BODY).body
    end(bridge)
    bridge.clock.advance(timedelta(days=3))
    verifier = Webhook(registered["signingSecret"])

    shown = message(client, registered["id"]).body

    [posted] = bridge.sender.posted
    assert verifier.verify(shown["body"].encode(), shown["headers"]) == json.loads(posted.body)
    with pytest.raises(WebhookVerificationError, match="too old"):
        verifier.verify(posted.body, dict(posted.headers))


def test_own_headers_and_the_query_are_not_shown(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """No log line has the message either."""
    caplog.set_level(logging.DEBUG)
    client = Client.of(bridge)
    public_id = client.register({**BODY, "headers": {"Authorization": "Bearer secret-header"}}).body["id"]
    end(bridge)

    answer = message(client, public_id)

    text = json.dumps(answer.body)
    assert bridge.sender.posted[0].headers["Authorization"] == "Bearer secret-header"
    assert set(answer.body["headers"]) == {"webhook-id", "webhook-timestamp", "webhook-signature", "content-type"}
    assert "secret-header" not in text
    assert "secret-query" not in text
    assert not [record for record in caplog.records if "grüße" in record.getMessage() or "🎬" in record.getMessage()]


def test_a_registration_without_a_message_answers_409(bridge: Harness) -> None:
    """The operation runs, or its end was filtered."""
    client = Client.of(bridge)
    waiting = client.register(BODY).body["id"]
    filtered = client.register({**BODY, "callbackUrl": "https://b.example.com/", "events": ["Failed"]}).body["id"]

    early = message(client, waiting)
    end(bridge)
    late = message(client, filtered)

    assert [(each.status, each.error["code"], each.error["target"]) for each in (early, late)] == [
        (409, "NoMessageYet", "id")
    ] * 2


@pytest.mark.parametrize(("status", "state"), [(500, State.PENDING), (410, State.DEAD), (200, State.DELIVERED)])
def test_a_message_is_shown_in_each_state_that_has_one(bridge: Harness, status: int, state: State) -> None:
    """One call reads it. The answer is not compressed, since it has a signature beside the client's own text."""
    client = Client.of(bridge)
    public_id = client.register(BODY).body["id"]
    end(bridge, status)
    bridge.table.taken()

    path = f"/registrations/{public_id}/message"
    answer = client.call(Handlers.read_message, path, id=public_id, headers={"Accept-Encoding": "gzip"})

    assert bridge.table.taken() == {"get": 1}
    assert answer.body["body"].encode() == bridge.sender.posted[0].body
    assert (answer.headers["Cache-Control"], "Content-Encoding" in answer.headers) == ("no-store, no-transform", False)
    [entry] = client.call(Handlers.list_registrations, "/registrations").body["value"]
    assert entry["state"] == state


def test_a_canceled_delivery_has_a_message_and_a_new_generation_has_none(bridge: Harness) -> None:
    client = Client.of(bridge)
    public_id = client.register(BODY).body["id"]
    end(bridge, 500)
    client.call(Handlers.cancel_registration, f"/registrations/{public_id}", method="DELETE", id=public_id)

    canceled = message(client, public_id)

    assert canceled.body["body"].encode() == bridge.sender.posted[0].body


def test_another_owner_gets_no_message(tenant: KeyServer) -> None:
    """The answer equals that about a missing registration."""
    bridge = guarded_by(tenant)
    ann, bob = Client.of(bridge, tenant.token(ANN)), Client.of(bridge, tenant.token(BOB))
    public_id = ann.register(BODY).body["id"]
    end(bridge)

    of_ann, missing = message(bob, public_id), message(bob, "default~operation-9~0123456789abcdef")
    nonsense = message(bob, "nonsense")

    assert of_ann.status == missing.status == nonsense.status == 404
    assert of_ann.body == missing.body == nonsense.body


def test_an_admin_sees_a_message_of_another_owner_without_a_signature(tenant: KeyServer) -> None:
    """A signature could be sent to the receiver in the owner's name, like the secret could."""
    bridge = guarded_by(tenant)
    ann, admin = Client.of(bridge, tenant.token(ANN)), Client.of(bridge, tenant.token(ROOT, "Bridge.Admin"))
    public_id = ann.register(BODY).body["id"]
    end(bridge)

    by_owner, by_admin = message(ann, public_id).body, message(admin, public_id).body

    assert by_admin["body"] == by_owner["body"]
    assert by_admin["headers"] == {name: by_owner["headers"][name] for name in ("webhook-id", "content-type")}
    assert set(by_owner["headers"]) - set(by_admin["headers"]) == {"webhook-timestamp", "webhook-signature"}
