"""Allowed callback URLs: the early check at registration."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.callback_url import (
    MAX_URL_LENGTH,
    REFUSED,
    CallbackRefused,
    CallbackRules,
    hide_query,
    host_and_port,
    is_public,
    normalise,
    origin_of,
    without_query,
)

CLOSED = CallbackRules()
LOCAL = CallbackRules(
    allow_http=True,
    allowed_networks=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
    allowed_ports=None,
)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://hooks.example.com/avatar", "https://hooks.example.com/avatar"),
        ("HTTPS://Hooks.Example.COM:443", "https://hooks.example.com/"),
        ("https://hooks.example.com./a", "https://hooks.example.com/a"),
        ("https://bücher.example/ü?ä=ö", "https://xn--bcher-kva.example/%C3%BC?%C3%A4=%C3%B6"),
        ("https://hooks.example.com/a%2Fb?c=%20d&e=f+g", "https://hooks.example.com/a%2Fb?c=%20d&e=f+g"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        ("https://[2606:4700:4700:0:0:0:0:1111]/", "https://[2606:4700:4700::1111]/"),
        ("https://hooks.example.com?a=1", "https://hooks.example.com/?a=1"),
        ("https://under_score.example.com/", "https://under_score.example.com/"),
        ("https://hooks.example.com/a?", "https://hooks.example.com/a?"),
        ("https://hooks.example.com?", "https://hooks.example.com/?"),
        ("https://hooks.example.com/a?b=50%&c=ab%2bcd%3D", "https://hooks.example.com/a?b=50%&c=ab%2bcd%3D"),
        ("https://hooks.example.com/[a]|b", "https://hooks.example.com/[a]%7Cb"),
        ("https://hooks.example.com//a/../b/./?//", "https://hooks.example.com//a/../b/./?//"),
        ("https://hooks.example.com/a?b?c", "https://hooks.example.com/a?b?c"),
        ("https://a.example/\u0645\u06cc\u200c\u062e", "https://a.example/%D9%85%DB%8C%E2%80%8C%D8%AE"),
        ("https://a.example/\U0001f469\u200d\U0001f4bb", "https://a.example/%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB"),
        ("https://a.example/\U0001fae9", "https://a.example/%F0%9F%AB%A9"),
        ("https://a.example/\U0001ffff\ue000", "https://a.example/%F0%9F%BF%BF%EE%80%80"),
    ],
)
def test_a_url_has_one_form(url: str, normal: str) -> None:
    """The form is used for storage, comparison, signatures and requests. Normalizing twice changes nothing."""
    assert normalise(url, CLOSED) == normal
    assert normalise(normal, CLOSED) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "https:",
        "https:///path",
        "https://",
        "ftp://a.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://user:pass@hooks.example.com/",
        "https://:@hooks.example.com/",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com/#",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:x/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\n",
        "https://hooks.example.com\\@evil.example/",
        "https://hooks.exa\tmple.com/",
        "https://a..b/",
        "https://-a.example/",
        "https://a%2eb.example/",
        "https://[::1",
        "https://[v1.a]/",
        "https://hooks.example.com/\x00",
        "https://ho\u200boks.example.com:\u0664/",
        "https://" + "a" * 64 + ".example/",
        "https://hooks.example.com/" + "a" * MAX_URL_LENGTH,
        "https://hooks.example.com/" + "ä" * 1000,
    ],
)
def test_an_invalid_callback_url_is_rejected(url: str) -> None:
    """The message has a reason."""
    with pytest.raises(CallbackRefused, match=r"\w+"):
        normalise(url, CLOSED)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://10.0.0.1/", "points to an address that is not public"),
        ("https://[::1]/", "points to an address that is not public"),
        ("https://127.1/", "has an address in an unusual notation: write it in the usual one"),
        ("https://[fe80::1%25eth0]/", "has an address with a scope"),
        ("https://a..b/", "has a host that is not a name"),
        ("https://a.example/ b", "contains a space, a control character or a backslash"),
        ("https://a.example/\u00a0b", "contains a space, a control character or a backslash"),
        ("https://a.example/\u3000b", "contains a space, a control character or a backslash"),
        *(
            (
                f"https://a.example/{each}b",
                "contains a control of the direction of text, which lets it read as another URL",
            )
            for each in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        ),
        ("https://a.example/\ud83d", "contains half of a character, a lone surrogate"),
        ("http://a.example/", "must use https"),
        ("ftp://a.example/", "must begin with https:// (or http:// where that is allowed)"),
        ("https://user@a.example/", "contains a user name or password: send credentials otherwise"),
        ("https://a.example/#here", "contains a fragment, which is never sent"),
        ("https:///here", "has no host"),
        ("https://a.example:x/", "is not a URL"),
        ("https://a.example:8443/", "uses port 8443, which is not allowed"),
    ],
)
def test_the_message_names_the_necessary_change(url: str, why: str) -> None:
    """Clients read these exact messages."""
    with pytest.raises(CallbackRefused) as refused:
        normalise(url, CLOSED)

    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("address", "kept"),
    [("203.0.113.7", False), ("8.8.8.8", True), ("::ffff:8.8.8.8", True), ("10.0.0.1", False), (None, False)],
)
def test_the_answer_of_an_inner_service_is_not_kept(address: str | None, *, kept: bool) -> None:
    """The default, unless an operator changes the setting."""
    assert CLOSED.keeps_answer_of(address) is kept
    assert CallbackRules(keep_answers=True).keeps_answer_of(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "\uff10x7f.1",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[fec0::1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[3fff::1]",
        "[ff02::1]",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.88.99.1",
        "198.18.0.1",
        "1.1.1",
        "1.1.1.1.1",
        "256.1.1.1",
        "0x",
        "1.0x1",
        "0",
        "[::ffff:0:127.0.0.1]",
        "[2001:db8::1]",
    ],
)
def test_addresses_that_are_not_public_are_rejected_in_any_notation(host: str) -> None:
    """The check comes before any write."""
    with pytest.raises(CallbackRefused):
        normalise(f"https://{host}/", CLOSED)


@pytest.mark.parametrize("network", REFUSED, ids=str)
def test_no_address_of_a_closed_network_is_public(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
    """The test covers the first and the last address, whatever `is_global` returns on this Python."""
    assert not is_public(network[0])
    assert not is_public(network[-1])


@pytest.mark.parametrize(
    "address",
    [
        "ace:cab:deca:deed::100",
        "200::1",
        "fe00::1",
        "4000::1",
        "100:0:0:1::1",
        "1fff:ffff::1",
        "::ffff:0:808:808",
        "e::1",
    ],
)
def test_no_ipv6_address_outside_of_the_public_space_is_public(address: str) -> None:
    """IANA has assigned only 2000::/3 to the internet."""
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(CallbackRefused):
        normalise(f"https://[{address}]/", CLOSED)


@given(st.ip_addresses(v=6))
def test_a_public_ipv6_address_begins_with_the_bits_001(address: ipaddress.IPv6Address) -> None:
    """This holds despite any exception."""
    assert not is_public(address) or int(address) >> 125 == 0b001


@pytest.mark.parametrize(
    ("network", "opened", "still_shut"),
    [
        ("0.0.0.0/0", ["10.0.0.1", "100.64.0.1"], ["127.0.0.1", "0.0.0.0", "169.254.169.254", "168.63.129.16"]),
        ("::/0", ["fd00::1", "ace:cab:deca::1"], ["::1", "::", "fe80::1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1"]),
        ("::/0", ["64:ff9b::a00:1"], ["::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a83f:8110"]),
        ("128.0.0.0/1", ["172.16.0.1"], ["169.254.0.1", "168.63.129.16"]),
        ("168.63.0.0/16", [], ["168.63.129.16"]),
        ("64.0.0.0/2", ["100.64.0.1"], ["127.0.0.1"]),
        ("169.254.0.0/15", [], ["169.254.169.254"]),
        ("127.0.0.0/8", ["127.0.0.1", "127.255.255.255"], ["169.254.169.254", "::1"]),
        ("127.0.0.1/32", ["127.0.0.1"], ["127.0.0.2"]),
        ("169.254.169.254/32", ["169.254.169.254"], ["169.254.169.253", "127.0.0.1"]),
        ("168.63.129.16/32", ["168.63.129.16"], []),
        ("fe80::/10", ["fe80::1"], ["::1"]),
        ("::1/128", ["::1"], ["::", "127.0.0.1"]),
    ],
)
def test_a_wide_network_does_not_open_this_machine_nor_azures_own_addresses(
    network: str, opened: list[str], still_shut: list[str]
) -> None:
    """A network inside of the machine's or Azure's networks opens its own addresses."""
    rules = CallbackRules(allowed_networks=(ipaddress.ip_network(network),))

    assert [each for each in opened if not rules.allows_address(ipaddress.ip_address(each))] == []
    assert [each for each in still_shut if rules.allows_address(ipaddress.ip_address(each))] == []


def test_a_closed_network_overrides_every_permission() -> None:
    """This holds for public networks and for opened ones."""
    rules = CallbackRules(
        allowed_networks=(ipaddress.ip_network("10.0.0.0/8"),),
        refused_networks=tuple(ipaddress.ip_network(each) for each in ("10.1.0.0/16", "8.8.0.0/16", "2606:4700::/32")),
    )

    addresses = ["10.1.0.1", "8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "10.2.0.1", "1.1.1.1"]
    allowed = [each for each in addresses if rules.allows_address(ipaddress.ip_address(each))]
    assert allowed == ["10.2.0.1", "1.1.1.1"]
    with pytest.raises(CallbackRefused):
        normalise("https://8.8.8.8/", rules)


@given(st.ip_addresses())
def test_every_address_that_python_rejects_is_rejected(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Every address that `is_global` rejects is rejected."""
    assert address.is_global or not is_public(address)


@given(st.text(max_size=60))
def test_any_text_is_normalised_or_rejected(text: str) -> None:
    """The function raises no other error, and normalizing twice changes nothing."""
    try:
        normal = normalise(f"https://{text}", CLOSED)
    except CallbackRefused:
        return
    assert normalise(normal, CLOSED) == normal


def test_operators_can_open_schemes_networks_and_ports() -> None:
    """The local start opens http, loopback and every port, and no more."""
    assert normalise("http://localhost:7072/callback", LOCAL) == "http://localhost:7072/callback"
    assert normalise("http://127.0.0.1:80/", LOCAL) == "http://127.0.0.1/"
    assert normalise("http://[::1]:7072/", LOCAL) == "http://[::1]:7072/"
    with pytest.raises(CallbackRefused):
        normalise("http://192.168.0.1/", LOCAL)


def test_port_80_is_open_only_with_http() -> None:
    """Without http, port 80 is closed for https."""
    assert normalise("http://a.example/", CallbackRules(allow_http=True)) == "http://a.example/"
    with pytest.raises(CallbackRefused, match="port 80"):
        normalise("https://a.example:80/", CLOSED)


def test_an_origin_is_scheme_host_and_port() -> None:
    """A signature covers the origin. Logs show less."""
    assert origin_of("https://hooks.example.com:8443/a?b=c") == "https://hooks.example.com:8443"
    assert host_and_port("https://hooks.example.com:8443/a?b=c") == "hooks.example.com:8443"


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("hooks.example.com", True),
        ("other.example.com", False),
        ("a.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("hooks.example.com.evil.net", False),
    ],
)
def test_only_named_hosts_and_suffixes_are_allowed(host: str, *, is_allowed: bool) -> None:
    """Applies if any host is named. A suffix does not include its own name."""
    rules = CallbackRules(allowed_hosts=frozenset({"hooks.example.com", "*.example.org"}))

    assert rules.allows_host(host) is is_allowed
    assert CallbackRules().allows_host(host)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/hook?code=secret", "https://a.example/hook?…"),
        ("https://a.example/hook?a?b&c#d", "https://a.example/hook?…"),
        ("https://a.example/hook?…0123456789abcdef", "https://a.example/hook?…"),
        ("https://a.example/hook?…", "https://a.example/hook?…"),
        ("https://a.example/hook?", "https://a.example/hook?"),
        ("https://a.example/hook", "https://a.example/hook"),
        ("/login?next=%2Fhook%3Fcode%3Dsecret", "/login?…"),
        ("/#code=secret?x", "/#…"),
        ("?code=secret", "?…"),
        ("?a\nb", "?…"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_query(url: str, shown: str) -> None:
    """The fragment of a redirect is removed too, since fragments can carry tokens."""
    assert without_query(url) == shown


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("Cannot POST /hook?code=s3cr3t-one&v=2", "Cannot POST /hook?…"),
        ('{"url": "/hook?code=s3cr3t-one&amp;v=2"}', '{"url": "/hook?code=…&amp;v=2"}'),
        ("code is s3cr3t-one, sig is a+b/c==, v is 2", "code is …, sig is …, v is 2"),
        ("sig is a%2Bb%2Fc%3D%3D", "sig is …"),
        ("to /login?next=%2Fhook%3Fcode%3Ds3cr3t-one%26v%3D2", "to /login?next=%2Fhook%3F…"),
        ("to /login?next=%2f%3fsig%3da%2bb%2fc%3d%3d", "to /login?next=%2f%3fsig%3d…"),
        ("to /login?next=%2F%3Fsig%3Da%252Bb%252Fc%253D%253D", "to /login?next=%2F%3F…"),
        ('{"sig": "a+b\\/c=="}', '{"sig": "…"}'),
        ("bare: just-a-token", "bare: …"),
        ("it begins: s3cr3t-o", "it begins: …"),
        ("it begins: s3cr3", "it begins: s3cr3"),
        ("nothing of it", "nothing of it"),
        ("", ""),
    ],
)
def test_the_answer_of_a_receiver_repeats_no_query(answer: str, kept: str) -> None:
    """Covered: the query as sent, decoded, encoded again, or truncated. Values of a few characters are not secrets."""
    urls = ["https://a.example/hook?code=s3cr3t-one&v=2", "https://a/?sig=a%2Bb%2Fc%3D%3D", "https://a/?just-a-token"]

    for url in urls:
        answer = hide_query(answer, url)

    assert answer == kept


def test_an_answer_to_a_url_without_a_query_is_unchanged() -> None:
    """The answer contains no secret."""
    assert hide_query("POST /hook is not known", "https://a.example/hook") == "POST /hook is not known"
    assert hide_query("POST /hook? is not known", "https://a.example/hook?") == "POST /hook? is not known"
