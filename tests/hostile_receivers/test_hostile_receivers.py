"""The real sender among hostile receivers: every attempt ends in time, with the right class, and leaves nothing."""

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
from bridge.storage.transaction import Insert, Transaction
from bridge.testing import MemoryTable
from tests.hostile_receivers.receivers import (
    HOSTILE_RECEIVERS,
    OK,
    drips,
    floods,
    hear,
    living,
    never_reads,
    overhearing,
    says,
    tls_with,
)
from tests.support.harness import NOON, FakeClock

#: Short, so that the tests are quick; the shape of what happens is that of 15 and 5 seconds.
LIMITS = Limits(attempt=0.8, lookup=0.3, connect=0.4, body=0.2)

#: Far more than any attempt may take here, on the slowest of machines.
GENEROUS = 20.0

RULES = CallbackRules(
    allow_http=True,
    allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),),
    allowed_ports=None,
    keep_answers=True,
)


@pytest.fixture
def sender() -> Iterator[HttpWebhookSender]:
    """Send with short limits; afterwards no thread and no socket is left but the one thread of all deadlines."""
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
    """Name the sockets of this process."""
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
    """Name what came of an attempt: the class of failure or the status."""
    return outcome.error.value if isinstance(outcome, Unreachable) else outcome.status


def stored(outcome: Outcome) -> AttemptRecord:
    """Write an outcome down as the bridge does."""
    ref = RegistrationRef(OperationRef("default", "operation-1"), "0123456789abcdef")
    claimed = AttemptRecord(ref=ref, number=1, at=NOON, claim="c", leased_until=NOON)
    return claimed.with_outcome(outcome, timedelta(seconds=1))


@pytest.mark.parametrize("name", HOSTILE_RECEIVERS)
def test_every_receiver_is_called_by_its_name(sender: HttpWebhookSender, name: str) -> None:
    """In time, with a record that can be stored."""
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
    """Nothing of the former attempt is left in the way."""
    with living(HOSTILE_RECEIVERS[name][0]) as bad, living(says(OK + b"Content-Length: 2\r\n\r\nok")) as good:
        sender.post(f"http://127.0.0.1:{bad}/", {}, b"{}")

        assert isinstance(sender.post(f"http://127.0.0.1:{good}/", {}, b"{}"), Delivered)


def test_a_thousand_hostile_attempts_leave_nothing(sender: HttpWebhookSender) -> None:
    """No thread, no socket, no timer: the fixture looks. On a busy machine any of them can take too long."""
    habits = [never_reads, drips(OK, b"X: y\r\n"), floods(OK + b"\r\n", b"a" * 4096), says(b"")]
    with living(habits[0]) as a, living(habits[1]) as b, living(habits[2]) as c, living(habits[3]) as d:
        urls = [f"http://127.0.0.1:{port}/" for port in (a, b, c, d)] * 250
        with ThreadPoolExecutor(50) as pool:
            outcomes = list(pool.map(lambda url: kind(sender.post(url, {}, b"{}")), urls))

    expected: list[set[str | int]] = [{"timeout"}, {"timeout"}, {200, "timeout"}, {"closed", "timeout"}] * 250
    assert [outcome for outcome, possible in zip(outcomes, expected, strict=True) if outcome not in possible] == []


heads = st.sampled_from([b"", b"HTTP/1.1 ", OK, OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"X:"])


@given(heads, st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_breaks_the_record(sender: HttpWebhookSender, head: bytes, rest: bytes) -> None:
    """Whatever its bytes: an outcome, and a row that reads back."""
    with living(says(head + rest)) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

    record = stored(outcome)
    row = for_insert(record)
    table = MemoryTable()
    table.commit(Transaction("p", (Insert("a", row),)))
    assert decode(AttemptRecord, record.ref, row) == replace(record, body=record.body or None)


def test_a_port_where_nobody_listens(sender: HttpWebhookSender) -> None:
    """Refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    assert sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") == Unreachable(error=Failure.CONNECT)


def test_a_port_that_never_accepts(sender: HttpWebhookSender) -> None:
    """Its queue is full: the connection is not opened in time."""
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
    """One connection for many attempts."""
    accepted: list[int] = []

    def answers_again_and_again(connection: socket.socket, _: threading.Event) -> None:
        accepted.append(1)
        while hear(connection):
            connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")

    with living(answers_again_and_again) as port:
        outcomes = [sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") for _ in range(5)]
        sender.close()

    assert [kind(each) for each in outcomes] == [200] * 5
    assert [each.address for each in outcomes] == ["127.0.0.1"] * 5
    assert len(accepted) == 1


def test_the_deadline_holds_on_a_connection_that_is_used_again(sender: HttpWebhookSender) -> None:
    """The second answer drips."""

    def changes_its_mind(connection: socket.socket, stop: threading.Event) -> None:
        hear(connection)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        drips(OK, b"X: y\r\n")(connection, stop)

    with living(changes_its_mind) as port:
        outcomes = [kind(sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")) for _ in range(2)]

    assert outcomes == [200, "timeout"]


def test_no_cookie_is_kept(sender: HttpWebhookSender) -> None:
    """A receiver gets no memory in the bridge."""
    heads: list[bytes] = []

    def bakes(connection: socket.socket, _: threading.Event) -> None:
        heads.append(hear(connection))
        connection.sendall(OK + b"Set-Cookie: a=b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with living(bakes) as port:
        for _ in range(2):
            sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

    assert all(b"ookie" not in head for head in heads)


def test_answers_of_inner_addresses_are_not_kept() -> None:
    """Unless an operator says so: nobody reads an inner service through the bridge."""
    rules = CallbackRules(allow_http=True, allowed_networks=RULES.allowed_networks, allowed_ports=None)
    sender = HttpWebhookSender(Guard(rules, LIMITS), FakeClock())
    with living(says(OK + b"Content-Length: 6\r\n\r\nsecret")) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    sender.close()

    assert isinstance(outcome, Delivered)
    assert outcome.body == ""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Sign certificates for these receivers."""
    return trustme.CA()


@pytest.fixture
def tls_sender(sender: HttpWebhookSender, authority: trustme.CA, tmp_path: Path) -> HttpWebhookSender:
    """Send, trusting the test's authority and no other."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    sender._client = GuardedClient(sender._guard, authorities=str(bundle))
    return sender


def test_a_right_certificate_is_taken(tls_sender: HttpWebhookSender, authority: trustme.CA) -> None:
    """For the name in the URL, though the connection goes to an address."""
    with living(says(OK + b"\r\n"), tls_with(authority.issue_cert("localhost"))) as port:
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
def test_a_wrong_certificate_is_not_taken(
    tls_sender: HttpWebhookSender, authority: trustme.CA, wrong: str, reason: TlsReason
) -> None:
    """Nothing is sent to its owner, and the attempt says why."""
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
    with overhearing(certificate) as (port, heard):
        outcome = tls_sender.post(f"https://localhost:{port}/", {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert (outcome.error, outcome.detail) == (Failure.TLS, reason)
    assert heard in ([], [b""])


def self_signed(name: str) -> trustme.LeafCert:
    """Make a certificate that no authority has signed."""
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


def test_a_port_without_tls_is_called_that(tls_sender: HttpWebhookSender) -> None:
    """It answers in plain HTTP."""

    def answers_at_once(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.recv(65_536)

    with living(answers_at_once) as port:
        outcome = tls_sender.post(f"https://localhost:{port}/", {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert (outcome.error, outcome.detail) == (Failure.TLS, TlsReason.NOT_TLS)


def test_a_receiver_of_old_tls_alone_is_called_that(tls_sender: HttpWebhookSender, authority: trustme.CA) -> None:
    """Its only cipher is none of the bridge's."""
    old = tls_with(authority.issue_cert("localhost"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA")

    with living(says(OK + b"\r\n"), old) as port:
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
    """It is not followed; who registered it may want to register that."""
    with living(says(b"HTTP/1.1 308 P\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")

    assert isinstance(outcome, Rejected)
    assert outcome.location == kept
    assert stored(outcome).location == kept


def test_an_answer_that_repeats_the_url_is_kept_without_the_query(sender: HttpWebhookSender) -> None:
    """Redirects add a slash to the whole URL, and some frameworks name the URL in their 404."""
    head = b"HTTP/1.1 308 P\r\nLocation: /hook/?code=canary-1\r\nContent-Length: 37\r\n\r\n"
    with living(says(head + b"POST /hook?code=canary-1 was not found")) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/hook?code=canary-1", {}, b"{}")

    assert isinstance(outcome, Rejected)
    assert outcome.location == "/hook/?…"
    assert outcome.body == "POST /hook?… was not foun"


@pytest.mark.parametrize("location", ["/login/%2Fhook%3Fcode%3Dcanary-1", "/canary-1/login", "/login;to=code=canary-1"])
def test_a_redirect_that_repeats_the_query_elsewhere_is_kept_without_it(
    sender: HttpWebhookSender, location: str
) -> None:
    """Where somebody has to sign in, the path can name the whole URL."""
    with living(says(f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())) as port:
        outcome = sender.post(f"http://127.0.0.1:{port}/hook?code=canary-1", {}, b"{}")

    assert isinstance(outcome, Rejected)
    assert outcome.location is not None
    assert "canary" not in outcome.location


def test_the_location_of_an_inner_address_is_not_kept() -> None:
    """It is part of the answer."""
    rules = CallbackRules(allow_http=True, allowed_networks=RULES.allowed_networks, allowed_ports=None)
    sender = HttpWebhookSender(Guard(rules, LIMITS), FakeClock())
    with living(says(b"HTTP/1.1 308 P\r\nLocation: /secret\r\nContent-Length: 0\r\n\r\n")) as port:
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
def test_a_failure_says_in_a_sentence_what_happened(sender: HttpWebhookSender, url: str, detail: str) -> None:
    """Beside its kind."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    outcome = sender.post(url.format(port=port), {}, b"{}")

    assert isinstance(outcome, Unreachable)
    assert outcome.detail == detail


@pytest.mark.parametrize(
    ("habit", "expected"),
    [(says(OK + b"\r\n"), "tls"), (never_reads, "timeout"), (says(b""), "tls"), (drips(b"\x16\x03\x03", b"\0"), "tls")],
    ids=["plain text", "silence", "hangs up", "drips"],
)
def test_a_port_that_speaks_no_tls(tls_sender: HttpWebhookSender, habit: object, expected: str) -> None:
    """Or does not come to an end with it."""
    with living(habit) as port:  # type: ignore[arg-type]
        assert kind(tls_sender.post(f"https://localhost:{port}/", {}, b"{}")) in (expected, "timeout", "closed")


def test_what_came_beyond_an_answer_over_tls_does_not_answer_the_next_request(
    tls_sender: HttpWebhookSender, authority: trustme.CA
) -> None:
    """It is decrypted already, where the socket does not show it: what is read at once ends just before it."""
    end = b"Content-Length: 2\r\n\r\nok"
    fill = b"X-Filling: %s\r\n"
    first = OK + fill % (b"a" * (8192 - len(OK + fill % b"" + end))) + end

    def says_too_much(connection: socket.socket, _: threading.Event) -> None:
        hear(connection)
        connection.sendall(first + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        hear(connection)
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with living(says_too_much, tls_with(authority.issue_cert("localhost"))) as port:
        outcomes = [kind(tls_sender.post(f"https://localhost:{port}/", {}, b"{}")) for _ in range(2)]

    assert len(first) == 8192
    assert outcomes[0] == 200
    assert outcomes[1] != 410
