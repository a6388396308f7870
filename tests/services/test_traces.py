"""A trace continues from the client to the receiver."""

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import RegistrationRef
from bridge.storage.keys import partition_of, row_key
from bridge.storage.table import ANY, Merge, Transaction
from tests.support.harness import Harness
from tests.support.http import Client

HOOK = "https://receiver.example.com/hook"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def end(bridge: Harness) -> None:
    """End the operation and deliver the callbacks."""
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


def test_the_receiver_gets_the_traceparent_of_the_registration(bridge: Harness) -> None:
    """The header is the same in every attempt."""
    assert Client.of(bridge).register(BODY, traceparent=TRACE).status == 201
    bridge.sender.script(HOOK, 500, 200)

    end(bridge)
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.deliver_all()

    assert [each.headers["traceparent"] for each in bridge.sender.posted] == [TRACE, TRACE]


@pytest.mark.parametrize("header", ["", "what-ever", TRACE.upper(), f"{TRACE}, {OTHER}", f"{TRACE}-00"])
def test_an_invalid_traceparent_is_ignored(bridge: Harness, header: str) -> None:
    """The header is ignored."""
    assert Client.of(bridge).register(BODY, traceparent=header).status == 201

    end(bridge)

    [posted] = bridge.sender.posted
    assert "traceparent" not in posted.headers


def test_the_same_registration_again_keeps_the_first_trace(bridge: Harness) -> None:
    """A repeated request changes nothing. A request that differs only in the trace counts as equal."""
    Client.of(bridge).register(BODY, traceparent=TRACE)

    assert Client.of(bridge).register(BODY, traceparent=OTHER).status == 200

    end(bridge)
    assert bridge.sender.posted[0].headers["traceparent"] == TRACE


@pytest.mark.parametrize("again", [OTHER, None])
def test_a_new_generation_has_the_trace_of_its_own_request(bridge: Harness, again: str | None) -> None:
    """The new request has another trace, or none."""
    client = Client.of(bridge)
    public_id = client.register(BODY, traceparent=TRACE).body["id"]
    client.call(Handlers.cancel_registration, f"/registrations/{public_id}", method="DELETE", id=public_id)

    client.register(BODY, **({} if again is None else {"traceparent": again}))

    end(bridge)
    assert bridge.sender.posted[0].headers.get("traceparent") == again


def test_a_trace_in_a_foreign_row_is_validated(bridge: Harness) -> None:
    """A column is validated like a header."""
    public_id = Client.of(bridge).register(BODY, traceparent=TRACE).body["id"]
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    change = Merge(row_key(ref), {"traceparent": f"{TRACE}\r\nX-Injected: yes"}, ANY)
    bridge.memory.commit(Transaction(partition_of(ref), (change,)))

    end(bridge)

    [posted] = bridge.sender.posted
    assert "traceparent" not in posted.headers


def test_custom_headers_cannot_set_the_trace(bridge: Harness) -> None:
    """The `traceparent` of the request is the only way."""
    answer = Client.of(bridge).register({**BODY, "headers": {"TraceParent": TRACE}})

    assert (answer.status, answer.targets) == (400, ["headers.TraceParent"])


def test_the_message_does_not_contain_the_trace(bridge: Harness) -> None:
    """The trace is neither in the event nor in the signed content."""
    Client.of(bridge).register(BODY, traceparent=TRACE)

    end(bridge)

    [posted] = bridge.sender.posted
    assert TRACE.encode() not in posted.body
