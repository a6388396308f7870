"""A client's custom headers from the registration to the callback, during key rotations."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from bridge.api.handlers import Handlers
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.storage.keys import partition_of, row_key
from bridge.storage.table import Merge, Transaction
from tests.support.harness import SIGNING_KEY, Harness, Posted, new_signing_key
from tests.support.http import Client

OLD = SIGNING_KEY
NEW = new_signing_key()
HOOK = "https://receiver.example.com/hook"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK, "headers": {"Authorization": "Bearer hunter2", "X-A": "1"}}


def pending(bridge: Harness, body: Mapping[str, object] = BODY) -> str:
    """Bring a registration with headers to the first task in the queue. Returns the id."""
    public_id = str(Client.of(bridge).register(body).body["id"])
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    return public_id


def next_attempt(bridge: Harness, wait: timedelta) -> None:
    """Advance the clock to the next attempt."""
    bridge.clock.advance(wait)
    bridge.sweep()
    bridge.deliver_all()


def shown(bridge: Harness, public_id: str) -> dict[str, object]:
    """Read a registration like a client."""
    body: dict[str, object] = (
        Client.of(bridge).call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id).body
    )
    return body


def errors(bridge: Harness, public_id: str) -> list[object]:
    """Return the error kinds of the attempts."""
    attempts = shown(bridge, public_id)["attempts"]
    assert isinstance(attempts, list)
    return [each["error"] for each in attempts]


@pytest.mark.parametrize(
    "columns", [{"callback_url": "https://evil.example.net/steal"}, {"owner": "another"}], ids=["url", "owner"]
)
def test_no_secret_is_sent_from_a_changed_row(bridge: Harness, columns: Mapping[str, str]) -> None:
    public_id = pending(bridge)
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    row = bridge.table.get(partition_of(ref), row_key(ref))
    assert row is not None
    bridge.table.commit(Transaction(partition_of(ref), (Merge(row_key(ref), columns, row.etag),)))

    bridge.deliver_all()
    next_attempt(bridge, timedelta(hours=1))

    assert bridge.sender.posted == []
    assert Client.of(bridge).call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id).status != 200


def test_custom_headers_are_sent_with_the_callback(bridge: Harness) -> None:
    """They are unchanged, in addition to the bridge's headers."""
    pending(bridge)

    bridge.deliver_all()

    headers = bridge.sender.posted[0].headers
    assert (headers["Authorization"], headers["X-A"]) == ("Bearer hunter2", "1")
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "Content-Type"} < set(headers)


def test_custom_headers_are_never_shown(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Covered: rows, messages, answers and log lines, including those of a failed attempt."""
    caplog.set_level(logging.DEBUG)
    client = Client.of(bridge)
    bridge.sender.script(HOOK, 500)
    public_id = pending(bridge)
    sent = repr(bridge.queue.tasks)
    bridge.deliver_all()

    answers = [
        client.register(BODY),
        client.register({**BODY, "headers": {"Authorization": "Bearer hunter3"}}),
        client.register({**BODY, "headers": {"Host": "hunter2"}}),
        client.call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id),
        client.call(Handlers.list_registrations),
        client.call(Handlers.read_operation, "/operations/operation-1", id="operation-1"),
        client.call(Handlers.status, "/status"),
    ]

    seen = [repr(bridge.memory.rows()), sent, caplog.text, *(json.dumps(each.body) for each in answers)]
    assert [each.status for each in answers] == [200, 409, 400, 200, 200, 200, 200]
    assert not [text for text in seen if "hunter" in text or "Authorization" in text]


def test_a_repeated_registration_requires_the_same_headers(bridge: Harness) -> None:
    """Order and case are irrelevant. Different headers, or none, mean different content."""
    client = Client.of(bridge)
    client.register(BODY)
    same = {"x-a": "1", "authorization": "Bearer hunter2"}

    found = [client.register({**BODY, "headers": each}).status for each in (same, {"X-A": "1"}, {}, None)]

    assert found == [200, 409, 409, 409]


def test_missing_headers_equal_an_empty_object(bridge: Harness) -> None:
    """`null` means the same."""
    client = Client.of(bridge)
    without = {name: value for name, value in BODY.items() if name != "headers"}
    client.register(without)

    found = [client.register({**without, "headers": each}).status for each in ({}, None, {"X-A": "1"})]

    assert found == [200, 200, 409]


def test_a_repeated_registration_is_recognized_after_a_new_key(bridge: Harness) -> None:
    """The encryption key makes no difference. After the removal of the key, equality is unknown."""
    Client.of(bridge).register(BODY)

    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    both = Client.of(bridge).register(BODY)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    removed = Client.of(bridge).register(BODY)

    assert both.status == 200
    assert (removed.status, removed.error["code"], removed.error["target"]) == (409, "HeadersUnreadable", "headers")


@pytest.mark.parametrize("headers", [{"X-B": "2"}, {}])
def test_a_new_generation_has_the_headers_of_its_own_request(bridge: Harness, headers: dict[str, str]) -> None:
    """Holds even if the new generation begins in the same millisecond as the former one."""
    public_id = str(Client.of(bridge).register(BODY).body["id"])
    Client.of(bridge).call(Handlers.cancel_registration, f"/registrations/{public_id}", method="DELETE", id=public_id)

    pending(bridge, {**BODY, "headers": headers})
    bridge.deliver_all()

    [posted] = bridge.sender.posted
    own = {name: value for name, value in posted.headers.items() if name in {"Authorization", "X-A", "X-B"}}
    assert own == headers


def test_a_callback_of_an_ended_operation_has_its_headers(bridge: Harness) -> None:
    """Such a registration is delivered at once."""
    bridge.register("operation-1", "https://first.example.com/")
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()

    Client.of(bridge).register(BODY)
    bridge.deliver_all()

    assert bridge.sender.posted[-1].headers["Authorization"] == "Bearer hunter2"


def test_no_callback_is_sent_without_its_headers(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The attempt fails with a separate kind, the log names the key, and restoring the key repairs the delivery."""
    public_id = pending(bridge)
    key_id = bridge.settings.keyring.public_keys()[0].id
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)

    bridge.deliver_all()

    assert bridge.sender.posted == []
    assert (shown(bridge, public_id)["state"], errors(bridge, public_id)) == ("pending", ["headers"])
    assert f"key {key_id} is not in BRIDGE_SIGNING_KEYS" in caplog.text
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    next_attempt(bridge, timedelta(seconds=5))
    assert (shown(bridge, public_id)["state"], errors(bridge, public_id)) == ("delivered", ["headers", None])
    assert bridge.sender.posted[0].headers["Authorization"] == "Bearer hunter2"


def test_a_missing_key_ends_in_dead_and_a_redelivery_is_possible(bridge: Harness) -> None:
    """The example has a whole run of failures, and another run after the key was restored."""
    public_id = pending(bridge)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    bridge.deliver_all()
    while shown(bridge, public_id)["state"] == State.PENDING:
        next_attempt(bridge, timedelta(hours=1))
    assert errors(bridge, public_id) == ["headers"] * ATTEMPTS_PER_RUN

    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    Client.of(bridge).call(Handlers.redeliver, f"/registrations/{public_id}/redeliver", method="POST", id=public_id)
    bridge.deliver_all()

    assert shown(bridge, public_id)["state"] == State.DELIVERED


def test_unreadable_headers_do_not_open_the_circuit_of_their_host(bridge: Harness) -> None:
    """The host did not fail, and other deliveries reach the host."""
    for number in range(6):
        Client.of(bridge).register({**BODY, "callbackUrl": f"{HOOK}/{number}"})
    bridge.register("operation-1", f"{HOOK}/without")
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)

    bridge.deliver_all()

    assert [posted.url for posted in bridge.sender.posted] == [f"{HOOK}/without"]


def secret_now(bridge: Harness) -> str:
    """Return the signing secret for the receiver, newest key first."""
    answer = Client.of(bridge).call(Handlers.signing_secret, f"/signing-secret?callbackUrl={HOOK}")
    return str(answer.body["signingSecret"])


def verifies(posted: Posted, secret: str) -> bool:
    """Verify a callback as of its time of signing."""
    at = datetime.fromtimestamp(int(posted.headers["webhook-timestamp"]), UTC)
    signature = Webhook(secret).sign(posted.headers["webhook-id"], at, posted.body.decode())
    return signature in posted.headers["webhook-signature"].split(" ")


def test_a_key_is_replaced_without_losing_a_callback(bridge: Harness) -> None:
    """The steps are add, send, remove, send. One delivery with encrypted headers is pending throughout."""
    bridge.sender.script(HOOK, 500, 500, 500, 200)
    first = pending(bridge)
    old_secret = secret_now(bridge)
    bridge.deliver_all()

    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    new_secret = secret_now(bridge)
    next_attempt(bridge, timedelta(seconds=5))
    second = pending(bridge, {**BODY, "callbackUrl": f"{HOOK}/second"})
    bridge.sender.script(f"{HOOK}/second", 500, 200)
    bridge.deliver_all()

    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    next_attempt(bridge, timedelta(minutes=5))
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    next_attempt(bridge, timedelta(minutes=30))
    next_attempt(bridge, timedelta(hours=2))

    of_first = [posted for posted in bridge.sender.posted if posted.url == HOOK]
    of_second = [posted for posted in bridge.sender.posted if posted.url != HOOK]
    assert [(verifies(each, old_secret), verifies(each, new_secret)) for each in of_first] == [
        (True, False),  # before the rotation
        (True, True),  # both keys sign
        (True, True),  # unsent while the key of the headers was missing, then sent after the restore
        (True, True),
    ]
    assert [(verifies(each, old_secret), verifies(each, new_secret)) for each in of_second] == [
        (True, True),
        (False, True),  # the old key is gone, and the new one encrypted these headers
    ]
    assert {each.headers["Authorization"] for each in bridge.sender.posted} == {"Bearer hunter2"}
    assert len({(each.headers["webhook-id"], each.body) for each in of_first}) == 1
    assert errors(bridge, first) == [None, None, "headers", None, None]
    assert [shown(bridge, each)["state"] for each in (first, second)] == ["delivered", "delivered"]
