"""A trace goes on from whoever registered to the receiver."""

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import RegistrationRef
from bridge.storage.keys import partition_of, row_key
from bridge.storage.transaction import ANY, Merge, Transaction
from tests.support.harness import Harness
from tests.support.http import Client

HOOK = "https://receiver.example.com/hook"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def end(bridge: Harness) -> None:
    """Let the operation end and its callbacks go out."""
    bridge.upstream.tell("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


def test_the_receiver_gets_the_traceparent_of_the_request_that_registered(bridge: Harness) -> None:
    """Unchanged, in every attempt."""
    assert Client.of(bridge).register(BODY, traceparent=TRACE).status == 201
    bridge.sender.tell(HOOK, 500, 200)

    end(bridge)
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.deliver_all()

    assert [each.headers["traceparent"] for each in bridge.sender.posted] == [TRACE, TRACE]


@pytest.mark.parametrize("header", ["", "what-ever", TRACE.upper(), f"{TRACE}, {OTHER}", f"{TRACE}-00"])
def test_a_wrong_traceparent_is_no_fault_of_a_registration(bridge: Harness, header: str) -> None:
    """It is taken for none."""
    assert Client.of(bridge).register(BODY, traceparent=header).status == 201

    end(bridge)

    [posted] = bridge.sender.posted
    assert "traceparent" not in posted.headers


def test_the_same_registration_again_keeps_the_first_trace(bridge: Harness) -> None:
    """A repeated request changes nothing, and one that differs in its trace only is the same."""
    Client.of(bridge).register(BODY, traceparent=TRACE)

    assert Client.of(bridge).register(BODY, traceparent=OTHER).status == 200

    end(bridge)
    assert bridge.sender.posted[0].headers["traceparent"] == TRACE


@pytest.mark.parametrize("again", [OTHER, None])
def test_a_new_generation_has_the_trace_of_its_own_request(bridge: Harness, again: str | None) -> None:
    """What was canceled and is registered again belongs to another trace, or to none."""
    client = Client.of(bridge)
    public_id = client.register(BODY, traceparent=TRACE).body["id"]
    client.call(Handlers.cancel_registration, f"/registrations/{public_id}", method="DELETE", id=public_id)

    client.register(BODY, **({} if again is None else {"traceparent": again}))

    end(bridge)
    assert bridge.sender.posted[0].headers.get("traceparent") == again


def test_a_row_that_somebody_else_has_written_cannot_send_what_it_likes(bridge: Harness) -> None:
    """A column is read as strictly as a header."""
    public_id = Client.of(bridge).register(BODY, traceparent=TRACE).body["id"]
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    change = Merge(row_key(ref), {"traceparent": f"{TRACE}\r\nX-Injected: yes"}, ANY)
    bridge.memory.commit(Transaction(partition_of(ref), (change,)))

    end(bridge)

    [posted] = bridge.sender.posted
    assert "traceparent" not in posted.headers


def test_own_headers_cannot_set_it(bridge: Harness) -> None:
    """One way to say it is enough."""
    answer = Client.of(bridge).register({**BODY, "headers": {"TraceParent": TRACE}})

    assert (answer.status, answer.targets) == (400, ["headers.TraceParent"])


def test_the_message_says_nothing_of_it(bridge: Harness) -> None:
    """It is no part of the event, nor of what is signed."""
    Client.of(bridge).register(BODY, traceparent=TRACE)

    end(bridge)

    [posted] = bridge.sender.posted
    assert TRACE.encode() not in posted.body
