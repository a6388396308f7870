"""Names that lie, change, hang or do not resolve. The resolver is replaced at `getaddrinfo`."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.adapters.net.guard import Guard, Limits
from bridge.adapters.net.resolver import MAX_LOOKUPS, NameNotResolved, Resolver
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.domain.callback_url import REFUSED, CallbackRules
from bridge.domain.outcome import Delivered, Failure, Unreachable
from tests.hostile_receivers.receivers import OK, living, replies
from tests.support.harness import FakeClock

RULES = CallbackRules(allow_http=True, allowed_networks=(ipaddress.ip_network("127.0.0.1/32"),), allowed_ports=None)
CLOSED = CallbackRules(allow_http=True, allowed_ports=None)

#: Replaces `getaddrinfo`: maps names to addresses.
Script = Callable[[str], list[str]]


@pytest.fixture
def sender() -> Iterator[HttpWebhookSender]:
    """Yield a sender with short limits."""
    sender = HttpWebhookSender(Guard(RULES, Limits(attempt=2, lookup=0.3, connect=0.5)), FakeClock())
    yield sender
    sender.close()


def resolving(monkeypatch: pytest.MonkeyPatch, script: Script) -> list[str]:
    """Replace the resolver. Returns the list of requested names."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: object, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        found = []
        for text in script(host):
            aggregate = socket.AF_INET6 if ":" in text else socket.AF_INET
            rest = (0, 0) if ":" in text else ()
            found.append((aggregate, socket.SOCK_STREAM, 6, "", (text, port or 0, *rest)))
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def reaching_nobody(monkeypatch: pytest.MonkeyPatch) -> tuple[HttpWebhookSender, list[float], list[str]]:
    """Replace all connections by timeouts. Returns the sender, the time for each address, and the addresses."""
    rules = replace(RULES, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),))
    waits: list[float] = []
    tried: list[str] = []

    def silent(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        waits.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    return HttpWebhookSender(Guard(rules, Limits(attempt=60, lookup=20, connect=0.5)), FakeClock()), waits, tried


def test_all_addresses_that_are_tried_share_the_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, silent addresses would outlast the lease."""
    sender, waits, tried = reaching_nobody(monkeypatch)
    resolving(monkeypatch, lambda _: [f"127.0.0.{number}" for number in range(1, 6)])

    outcome = sender.post("http://silent.example.com/", {}, b"{}")

    assert (outcome, len(tried)) == (Unreachable(error=Failure.TIMEOUT), 5)
    assert sum(waits) <= 0.5


def test_at_most_eight_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the owner of the name could direct the bridge to thousands of other hosts."""
    sender, _, tried = reaching_nobody(monkeypatch)
    resolving(monkeypatch, lambda _: [f"127.{number // 250}.{number % 250}.1" for number in range(3000)])

    outcome = sender.post("http://many.example.com/", {}, b"{}")

    assert outcome == Unreachable(error=Failure.TIMEOUT)
    assert tried == [f"127.0.{number}.1" for number in range(8)]


def test_an_inner_address_after_the_eighth_rejects_the_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses are checked before the first connection."""
    sender, _, tried = reaching_nobody(monkeypatch)
    resolving(monkeypatch, lambda _: [*(f"127.0.0.{number}" for number in range(1, 20)), "10.0.0.1"])

    outcome = sender.post("http://many.example.com/", {}, b"{}")

    assert (outcome, tried) == (Unreachable(error=Failure.REFUSED_BY_RULES), [])


def test_lookups_of_registrations_do_not_block_attempts(
    sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of lookups may hang."""
    answering = threading.Event()

    def hang(host: str) -> list[str]:
        if host.startswith("hangs"):
            answering.wait(20)
        return ["127.0.0.1"]

    resolving(monkeypatch, hang)
    with living(replies(OK + b"Connection: close\r\n\r\n")) as port, ThreadPoolExecutor(MAX_LOOKUPS) as registering:
        early = [
            registering.submit(sender._guard.look_early, f"hangs-{number}.example.com", 0.05)
            for number in range(MAX_LOOKUPS)
        ]
        hung = [isinstance(each.exception(), NameNotResolved) for each in early]

        outcome = sender.post(f"http://receiver.example.com:{port}/", {}, b"{}")
        answering.set()

    assert all(hung)
    assert isinstance(outcome, Delivered)


def test_a_name_that_changes_between_calls_is_looked_up_once(
    sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection uses the checked address."""
    answers = cycle([["127.0.0.1"], ["169.254.169.254"]])
    looked_up = []

    def rebind(host: str) -> list[str]:
        if host == "rebind.example.com":
            looked_up.append(host)
            return next(answers)
        return [host]

    resolving(monkeypatch, rebind)
    with living(replies(OK + b"Connection: close\r\n\r\n")) as port:
        first = sender.post(f"http://rebind.example.com:{port}/", {}, b"{}")
        second = sender.post(f"http://rebind.example.com:{port}/", {}, b"{}")

    assert first.address == "127.0.0.1"
    assert second == Unreachable(error=Failure.REFUSED_BY_RULES)
    assert len(looked_up) == 2


@pytest.mark.parametrize(
    "addresses",
    [
        ["1.1.1.1", "10.0.0.1"],
        ["10.0.0.1", "1.1.1.1"],
        ["::ffff:10.0.0.1"],
        ["::ffff:169.254.169.254"],
        ["64:ff9b::a9fe:a9fe"],
        ["2002:a9fe:a9fe::1"],
        ["fe80::1%lo"],
        ["168.63.129.16"],
        ["127.0.0.2"],
        ["::1"],
    ],
)
def test_a_name_with_an_inner_address_gets_no_connection(
    sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """The whole answer is rejected, and a registration for the name too."""
    resolving(monkeypatch, lambda _: addresses)
    monkeypatch.setattr(socket, "create_connection", forbidden)

    assert sender.post("http://inside.example.com/", {}, b"{}") == Unreachable(error=Failure.REFUSED_BY_RULES)
    assert sender.check_destination("http://inside.example.com/") == "leads to an address that is not public"


def forbidden(*_: object, **__: object) -> socket.socket:
    """Fail the test: no connection is allowed here."""
    raise AssertionError("a connection was opened")


def test_a_mapped_address_that_is_allowed_is_connected_to(
    sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules treat the address as the IPv4 address inside."""
    resolving(monkeypatch, lambda host: ["::ffff:127.0.0.1"] if host == "mapped.example.com" else [host])
    with living(replies(OK + b"\r\n")) as port:
        outcome = sender.post(f"http://mapped.example.com:{port}/", {}, b"{}")

    assert outcome.address == "127.0.0.1"


def test_the_next_address_is_tried_when_one_is_dead(sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = CallbackRules(allow_http=True, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),), allowed_ports=None)
    sender = HttpWebhookSender(Guard(rules, Limits(attempt=2, lookup=0.3, connect=0.5)), FakeClock())
    resolving(monkeypatch, lambda host: ["127.0.0.9", "127.0.0.1"] if host == "two.example.com" else [host])
    with living(replies(OK + b"\r\n")) as port:
        outcome = sender.post(f"http://two.example.com:{port}/", {}, b"{}")
    sender.close()

    assert outcome.address == "127.0.0.1"
    sender.close()


def test_the_peer_address_is_checked_after_connecting(
    sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer's address is checked again after the connection is open."""
    with living(replies(OK + b"\r\n")) as port:

        def elsewhere(_: object, timeout: float) -> socket.socket:
            connection = socket.socket()
            connection.settimeout(timeout)
            connection.connect(("127.0.0.1", port))
            return connection

        monkeypatch.setattr(socket, "create_connection", elsewhere)
        sender = HttpWebhookSender(Guard(CLOSED), FakeClock())
        resolving(monkeypatch, lambda _: ["1.1.1.1"])

        outcome = sender.post("http://elsewhere.example.com/", {}, b"{}")
        sender.close()

    assert isinstance(outcome, Unreachable)
    assert outcome.error is Failure.REFUSED_BY_RULES
    sender.close()


def test_narrowed_rules_apply_to_existing_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scheme, port and host are checked again before each attempt."""
    resolving(monkeypatch, lambda _: ["1.1.1.1"])
    monkeypatch.setattr(socket, "create_connection", forbidden)
    sender = HttpWebhookSender(Guard(CallbackRules(allowed_hosts=frozenset({"good.example.com"}))), FakeClock())

    for url in ("http://good.example.com/", "https://good.example.com:8443/", "https://other.example.com/"):
        assert sender.post(url, {}, b"{}") == Unreachable(error=Failure.REFUSED_BY_RULES)


@pytest.mark.parametrize("script", [lambda _: [], lambda _: 1 // 0], ids=["answers nothing", "is broken"])
def test_an_unknown_name_is_a_dns_failure(
    sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    """The failure is not permanent, so a registration for the name is accepted."""

    def no_such_name(host: str) -> list[str]:
        try:
            return script(host)
        except ZeroDivisionError:
            raise socket.gaierror("no such name") from None

    resolving(monkeypatch, no_such_name)

    assert sender.post("http://nowhere.example.com/", {}, b"{}") == Unreachable(error=Failure.DNS)
    assert sender.check_destination("http://nowhere.example.com/") is None


def test_a_name_that_hangs_does_not_starve_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simultaneous callers share one lookup per name, and other names continue meanwhile."""
    release = threading.Event()
    asked = resolving(monkeypatch, lambda host: ["1.1.1.1"] if host == "good.example.com" or release.wait(30) else [])
    resolver = Resolver()

    def outcome(name: str) -> str:
        try:
            return str(resolver.resolve(name, 0.2)[0])
        except NameNotResolved as error:
            return str(error)

    with ThreadPoolExecutor(20) as pool:
        hanging = list(pool.map(outcome, ["hangs.example.com"] * 20))
    good = outcome("good.example.com")
    release.set()

    assert hanging == ["no answer in time"] * 20
    assert good == "1.1.1.1"
    assert asked.count("hangs.example.com") == 1


def test_lookups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of names may hang. The lookups end when the system's resolver gives up."""
    release = threading.Event()
    resolving(monkeypatch, lambda _: ["1.1.1.1"] if release.wait(30) else [])
    resolver = Resolver()
    before = set(threading.enumerate())

    for number in range(MAX_LOOKUPS):
        with pytest.raises(NameNotResolved, match="in time"):
            resolver.resolve(f"{number}.example.com", 0)
    with pytest.raises(NameNotResolved, match="too many"):
        resolver.resolve("one-more.example.com", 0)
    abandoned = set(threading.enumerate()) - before
    release.set()
    for thread in abandoned:
        thread.join(30)

    assert len(abandoned) == MAX_LOOKUPS
    assert str(resolver.resolve("one-more.example.com", 5)[0]) == "1.1.1.1"


inner_addresses = st.sampled_from(REFUSED).flatmap(lambda network: st.ip_addresses(network=network))


def notations(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[str]:
    """Return the notations of an address that an attacker would try."""
    if isinstance(address, ipaddress.IPv6Address):
        return [f"[{address}]", f"[{address.exploded}]", f"[{str(address).upper()}]", f"[{address}%25eth0]"]
    number, octets = int(address), str(address).split(".")
    return [
        str(address),
        f"{address}.",
        str(number),
        hex(number),
        oct(number).replace("0o", "0"),
        ".".join(hex(int(octet)) for octet in octets),
        ".".join(f"0{int(octet):o}" for octet in octets),
        f"{octets[0]}.{number % 2**24}",
        f"{octets[0]}.{octets[1]}.{number % 2**16}",
        str(address).replace(".", "\u3002"),
        "".join(chr(0xFF10 + int(digit)) if digit.isdigit() else digit for digit in str(address)),
        f"[::ffff:{address}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
    ]


@given(inner_addresses, st.sampled_from(["http", "https"]), st.integers(0, 14))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_url_of_an_inner_address_gets_a_socket(
    monkeypatch: pytest.MonkeyPatch, address: ipaddress.IPv4Address | ipaddress.IPv6Address, scheme: str, which: int
) -> None:
    """Covers every notation, at every check."""
    monkeypatch.setattr(socket, "create_connection", forbidden)
    written = notations(address)
    sender = HttpWebhookSender(Guard(CLOSED), FakeClock())

    outcome = sender.post(f"{scheme}://{written[which % len(written)]}/", {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert outcome.error in (Failure.REFUSED_BY_RULES, Failure.DNS, Failure.PROTOCOL)


@given(inner_addresses)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_of_an_inner_address_gets_a_socket(
    monkeypatch: pytest.MonkeyPatch, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    """Covers every answer of the resolver."""
    resolving(monkeypatch, lambda _: ["1.1.1.1", str(address)])
    monkeypatch.setattr(socket, "create_connection", forbidden)
    sender = HttpWebhookSender(Guard(CLOSED), FakeClock())

    assert sender.post("https://name.example.com/", {}, b"{}") == Unreachable(error=Failure.REFUSED_BY_RULES)
