"""The real sender and hostile receivers: every attempt ends in time, with the right result, without leftovers."""

import gc
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.adapters.net.deadline import AttemptDeadline
from bridge.adapters.net.guard import Guard, Limits
from bridge.adapters.net.transport import GuardedClient
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.dependencies import real_clock
from bridge.domain.attempt import AttemptRecord
from bridge.domain.callback_url import CallbackRules
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.outcome import Delivered, Failure, Outcome, Rejected, TlsReason, Unreachable
from bridge.storage.records import decode, for_insert
from bridge.storage.table import Insert, Transaction
from bridge.testing import MemoryTable
from tests.hostile_receivers.receivers import (
    HOSTILE_RECEIVERS,
    OK,
    drips,
    floods,
    living,
    never_reads,
    read_request,
    recording_with,
    replies,
    tls_with,
)
from tests.support.harness import NOON, FakeClock

#: Short limits for quick tests. The proportions match the real limits of 15 and 5 seconds.
LIMITS = Limits(attempt=0.8, lookup=0.3, connect=0.4, body=0.2)

#: Far more than any attempt may take here, even on a slow machine.
GENEROUS = 20.0

RULES = CallbackRules(
    allow_http=True,
    allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),),
    allowed_ports=None,
    keep_answers=True,
)


@pytest.fixture
def sender() -> Iterator[HttpWebhookSender]:
    """Yield a sender with short limits. Afterwards, no socket and no thread remains, except the timer's thread."""
    with AttemptDeadline(GENEROUS):
        gc.collect()
    sockets, threads = open_sockets(), set(threading.enumerate())
    sender = HttpWebhookSender(Guard(RULES, LIMITS), FakeClock())
    yield sender
    sender.close()
    gc.collect()
    for thread in set(threading.enumerate()) - threads:
        thread.join(GENEROUS)
    assert set(threading.enumerate()) <= threads
    assert open_sockets() <= sockets


def open_sockets() -> set[str]:
    """Return the open sockets of this process."""
    links = list(Path("/proc/self/fd").iterdir())
    found = set()
    for link in links:
        try:
            target = str(link.readlink())
        except OSError:  # the handle that listed the folder
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def kind(outcome: Outcome) -> str | int:
    """Return the result of an attempt: the kind of failure, or the status."""
    return outcome.error.value if isinstance(outcome, Unreachable) else outcome.status


def stored(outcome: Outcome) -> AttemptRecord:
    """Convert an outcome to the record that the bridge stores."""
    ref = RegistrationRef(OperationRef("default", "operation-1"), "0123456789abcdef")
    claimed = AttemptRecord(ref=ref, number=1, at=NOON, claim="c", leased_until=NOON)
    return claimed.with_outcome(outcome, timedelta(seconds=1))


@pytest.mark.parametrize("name", HOSTILE_RECEIVERS)
def test_every_hostile_receiver_has_the_expected_result(sender: HttpWebhookSender, name: str) -> None:
    """The attempt ends in time with a record that can be stored."""
    habit, expected = HOSTILE_RECEIVERS[name]
    with living(habit) as port:
        began = time.monotonic()

        outcome = sender.post(f"http://127.0.0.1:{port}/hook", {"webhook-id": "msg_1"}, b'{"a": 1}')

        assert kind(outcome) == expected
        assert time.monotonic() - began < GENEROUS
        assert outcome.address == "127.0.0.1"
        record = stored(outcome)
        assert record.body is None or (record.body.isprintable() and len(record.body) <= 1024)


@pytest.mark.parametrize("name", ["drips headers", "sends a body without end", "answers 999", "resets the connection"])
def test_a_good_receiver_is_reached_after_a_bad_one(sender: HttpWebhookSender, name: str) -> None:
    """The failed attempt leaves nothing in the way."""
    with living(HOSTILE_RECEIVERS[name][0]) as bad, living(replies(OK + b"Content-Length: 2\r\n\r\nok")) as good:
        sender.post(f"http://127.0.0.1:{bad}/", {}, b"{}")

        assert isinstance(sender.post(f"http://127.0.0.1:{good}/", {}, b"{}"), Delivered)


def test_a_thousand_hostile_attempts_leave_nothing(sender: HttpWebhookSender) -> None:
    """The fixture checks threads, sockets and timers. On a busy machine, any attempt may time out."""
    habits = [never_reads, drips(OK, b"X: y\r\n"), floods(OK + b"\r\n", b"a" * 4096), replies(b"")]
    with living(habits[0]) as a, living(habits[1]) as b, living(habits[2]) as c, living(habits[3]) as d:
        urls = [f"http://127.0.0.1:{port}/" for port in (a, b, c, d)] * 250
        with ThreadPoolExecutor(50) as pool:
            outcomes = list(pool.map(lambda url: kind(sender.post(url, {}, b"{}")), urls))

    late: set[str | int] = {"timeout", "dns"}  # the lookup of an address has a limit, too
    expected: list[set[str | int]] = [late, late, {200, *late}, {"closed", *late}] * 250
    assert [outcome for outcome, possible in zip(outcomes, expected, strict=True) if outcome not in possible] == []


heads = st.sampled_from([b"", b"HTTP/1.1 ", OK, OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"X:"])


@given(heads, st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_breaks_the_record(sender: HttpWebhookSender, head: bytes, rest: bytes) -> None:
    """Arbitrary bytes give an outcome, and a row that reads back."""
    with living(replies(head + rest)) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

    record = stored(outcome)
    row = for_insert(record)
    table = MemoryTable()
    table.commit(Transaction("p", (Insert("a", row),)))
    assert decode(AttemptRecord, record.ref, row) == replace(record, body=record.body or None)


def test_a_closed_port_is_a_connect_failure(sender: HttpWebhookSender) -> None:
    """The connection is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    assert sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") == Unreachable(error=Failure.CONNECT)


def test_a_port_that_never_accepts(sender: HttpWebhookSender) -> None:
    """The accept queue is full, so the connection times out."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))

        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

        for filler in fillers:
            filler.close()
    assert outcome == Unreachable(error=Failure.TIMEOUT)


def test_connections_to_good_receivers_are_reused(sender: HttpWebhookSender) -> None:
    """Many attempts use one connection."""
    accepted: list[int] = []

    def answers_again_and_again(connection: socket.socket, _: threading.Event) -> None:
        accepted.append(1)
        while read_request(connection):
            connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")

    with living(answers_again_and_again) as port:
        outcomes = [sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") for _ in range(5)]
        sender.close()

    assert [kind(each) for each in outcomes] == [200] * 5
    assert [each.address for each in outcomes] == ["127.0.0.1"] * 5
    assert len(accepted) == 1


def test_the_deadline_holds_on_a_connection_that_is_used_again(sender: HttpWebhookSender) -> None:
    """The second answer arrives drop by drop."""

    def changes_its_mind(connection: socket.socket, stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        drips(OK, b"X: y\r\n")(connection, stop)

    with living(changes_its_mind) as port:
        outcomes = [kind(sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")) for _ in range(2)]

    assert outcomes == [200, "timeout"]


def test_no_cookie_is_kept(sender: HttpWebhookSender) -> None:
    heads: list[bytes] = []

    def bakes(connection: socket.socket, _: threading.Event) -> None:
        heads.append(read_request(connection))
        connection.sendall(OK + b"Set-Cookie: a=b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with living(bakes) as port:
        for _ in range(2):
            sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

    assert all(b"ookie" not in head for head in heads)


def test_answers_of_inner_addresses_are_not_kept() -> None:
    """Nothing of an inner service can be read through the bridge, unless the operator permits."""
    rules = CallbackRules(allow_http=True, allowed_networks=RULES.allowed_networks, allowed_ports=None)
    sender = HttpWebhookSender(Guard(rules, LIMITS), FakeClock())
    with living(replies(OK + b"Content-Length: 6\r\n\r\nsecret")) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    sender.close()

    assert isinstance(outcome, Delivered)
    assert outcome.body == ""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Yield an authority that signs the receivers' certificates."""
    return trustme.CA()


@pytest.fixture
def tls_sender(sender: HttpWebhookSender, authority: trustme.CA, tmp_path: Path) -> HttpWebhookSender:
    """Return a sender that trusts only the test's authority."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    sender._client = GuardedClient(sender._guard, authorities=str(bundle))
    return sender


def test_a_valid_certificate_is_accepted(tls_sender: HttpWebhookSender, authority: trustme.CA) -> None:
    """The certificate is for the name in the URL, although the connection uses an address."""
    with living(replies(OK + b"\r\n"), tls_with(authority.issue_cert("localhost"))) as port:
        assert kind(tls_sender.post(f"https://localhost:{port}/", {}, b"{}")) == 200


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("name", TlsReason.HOST),
        ("self-signed", TlsReason.SELF_SIGNED),
        ("strangers", TlsReason.AUTHORITY),
        ("expired", TlsReason.EXPIRED),
        ("early", TlsReason.NOT_YET_VALID),
    ],
)
def test_an_invalid_certificate_is_rejected(
    tls_sender: HttpWebhookSender, authority: trustme.CA, wrong: str, reason: TlsReason
) -> None:
    """No request is sent, and the attempt records the reason."""
    long_ago, late = datetime(2020, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)
    certificate = {
        "name": lambda: authority.issue_cert("other.example.com"),
        "self-signed": lambda: self_signed("localhost"),
        "strangers": lambda: trustme.CA().issue_cert("localhost"),
        "expired": lambda: authority.issue_cert(
            "localhost", not_before=long_ago, not_after=long_ago + timedelta(days=1)
        ),
        "early": lambda: authority.issue_cert("localhost", not_before=late, not_after=late + timedelta(days=1)),
    }[wrong]()
    with recording_with(certificate) as (port, received):
        outcome = tls_sender.post(f"https://localhost:{port}/", {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert (outcome.error, outcome.detail) == (Failure.TLS, reason)
    assert received in ([], [b""])


def self_signed(name: str) -> trustme.LeafCert:
    """Return a certificate without a signature by an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = real_clock()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return trustme.LeafCert(written, certificate.public_bytes(pem), [])


def test_a_port_without_tls_is_named_as_the_cause(tls_sender: HttpWebhookSender) -> None:
    """The receiver answers in plain HTTP."""

    def answers_at_once(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.recv(65_536)

    with living(answers_at_once) as port:
        outcome = tls_sender.post(f"https://localhost:{port}/", {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert (outcome.error, outcome.detail) == (Failure.TLS, TlsReason.NOT_TLS)


def test_a_receiver_with_only_old_tls_is_named_as_the_cause(
    tls_sender: HttpWebhookSender, authority: trustme.CA
) -> None:
    """The bridge supports none of the receiver's ciphers."""
    old = tls_with(authority.issue_cert("localhost"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA")

    with living(replies(OK + b"\r\n"), old) as port:
        outcome = tls_sender.post(f"https://localhost:{port}/", {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert (outcome.error, outcome.detail) == (Failure.TLS, TlsReason.NOTHING_IN_COMMON)


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        (b"https://new.example.com/hook", "https://new.example.com/hook"),
        (b"/hook", "/hook"),
        (b"/\xff\xfe", "/\xff\xfe"),
        (b"/" + b"a" * 5000, "/" + "a" * 299),
        (b"", None),
    ],
)
def test_the_location_of_a_redirect_is_kept(sender: HttpWebhookSender, location: bytes, kept: str | None) -> None:
    """The redirect is not followed. The client may want to register the target."""
    with living(replies(b"HTTP/1.1 308 P\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

    assert isinstance(outcome, Rejected)
    assert outcome.location == kept
    assert stored(outcome).location == kept


def test_an_answer_that_repeats_the_url_is_kept_without_the_query(sender: HttpWebhookSender) -> None:
    """Redirects add a slash to the whole URL, and some frameworks name the URL in their 404."""
    head = b"HTTP/1.1 308 P\r\nLocation: /hook/?code=canary-1\r\nContent-Length: 37\r\n\r\n"
    with living(replies(head + b"POST /hook?code=canary-1 was not found")) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/hook?code=canary-1", {}, b"{}")

    assert isinstance(outcome, Rejected)
    assert outcome.location == "/hook/?…"
    assert outcome.body == "POST /hook?… was not foun"


@pytest.mark.parametrize("location", ["/login/%2Fhook%3Fcode%3Dcanary-1", "/canary-1/login", "/login;to=code=canary-1"])
def test_a_redirect_that_repeats_the_query_elsewhere_is_kept_without_it(
    sender: HttpWebhookSender, location: str
) -> None:
    """A redirect to a login page can contain the whole URL in the path."""
    with living(replies(f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/hook?code=canary-1", {}, b"{}")

    assert isinstance(outcome, Rejected)
    assert outcome.location is not None
    assert "canary" not in outcome.location


def test_the_location_of_an_inner_address_is_not_kept() -> None:
    """The location is part of the answer."""
    rules = CallbackRules(allow_http=True, allowed_networks=RULES.allowed_networks, allowed_ports=None)
    sender = HttpWebhookSender(Guard(rules, LIMITS), FakeClock())
    with living(replies(b"HTTP/1.1 308 P\r\nLocation: /secret\r\nContent-Length: 0\r\n\r\n")) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    sender.close()

    assert isinstance(outcome, Rejected)
    assert outcome.location is None


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://10.0.0.1/", "points to an address that is not public"),
        ("http://127.0.0.1:{port}/", "connection refused"),
    ],
)
def test_a_failure_has_a_sentence_about_the_cause(sender: HttpWebhookSender, url: str, detail: str) -> None:
    """The sentence comes in addition to the kind."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    outcome = sender.post(url.format(port=port), {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert outcome.detail == detail


@pytest.mark.parametrize(
    ("habit", "expected"),
    [
        (replies(OK + b"\r\n"), "tls"),
        (never_reads, "timeout"),
        (replies(b""), "tls"),
        (drips(b"\x16\x03\x03", b"\0"), "tls"),
    ],
    ids=["plain text", "silence", "hangs up", "drips"],
)
def test_a_failed_tls_handshake_is_a_tls_failure_or_a_timeout(
    tls_sender: HttpWebhookSender, habit: object, expected: str
) -> None:
    """The handshake fails or never ends."""
    with living(habit) as port:  # type: ignore[arg-type]
        assert kind(tls_sender.post(f"https://localhost:{port}/", {}, b"{}")) in (expected, "timeout", "closed")


def test_extra_bytes_after_a_tls_answer_do_not_answer_the_next_request(
    tls_sender: HttpWebhookSender, authority: trustme.CA
) -> None:
    """The extra bytes are already decrypted, so the socket does not show them. Reads stop right before them."""
    end = b"Content-Length: 2\r\n\r\nok"
    fill = b"X-Filling: %s\r\n"
    first = OK + fill % (b"a" * (8192 - len(OK + fill % b"" + end))) + end

    def says_too_much(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(first + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with living(says_too_much, tls_with(authority.issue_cert("localhost"))) as port:
        outcomes = [kind(tls_sender.post(f"https://localhost:{port}/", {}, b"{}")) for _ in range(2)]

    assert len(first) == 8192
    assert outcomes[0] == 200
    assert outcomes[1] != 410
