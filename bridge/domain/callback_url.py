"""Callback destinations: strict parsing of URLs, the rules about networks, and the check for public addresses.

The rules are applied twice. Registering applies them to answer early. Connecting applies them to the actual address
(`bridge/adapters/net/guard.py`), and that check is the decisive one.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_plus, urlsplit

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED_IPV4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
    "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
#: IANA has given only 2000::/3 of IPv6 to the public internet. The first three networks are everything outside of
#: 2000::/3. The others are exceptions within.
_REFUSED_IPV6 = "::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 3fff::/20"

#: Refused in every Python version. `ipaddress.is_global` alone is not enough: several Python versions let through
#: Azure's wire server, NAT64 and 6to4 forms of private addresses, and multicast. This list comes first, and
#: `is_global` refuses the rest. Sources: the IANA registries of address space and of special-purpose addresses, for
#: IPv4 and IPv6, and Azure's documentation of 168.63.129.16 and of 169.254.169.254.
REFUSED: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in f"{_REFUSED_IPV4} {_REFUSED_IPV6}".split())


#: This machine, link-local addresses (including the metadata service) and Azure's wire server. A network that an
#: operator allows opens one of them only if the whole network lies inside of one: a wide network never does.
GUARDED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "::/127", "fe80::/10")
)

#: All addresses, including the guarded ones.
EVERYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"), *GUARDED)

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_THIS_MACHINE = ipaddress.IPv6Network("::/127")


def is_public(address: Address) -> bool:
    """Return whether `address` belongs to the public internet. An IPv4-mapped address has to be unmapped first."""
    return address.is_global and not any(address in network for network in REFUSED)


def opens(network: Network, address: Address) -> bool:
    """Return whether a network that an operator allows opens `address`, which is not public."""
    guards = [guard for guard in GUARDED if any(each in guard for each in (address, *_embedded(address)))]
    return address in network and all(_is_within(network, guard) for guard in guards)


def unmapped(address: Address) -> Address:
    """Take an IPv4 address out of its IPv6 wrapping, `::ffff:a.b.c.d`."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _embedded(address: Address) -> tuple[Address, ...]:
    """Find the IPv4 addresses to which a gateway may route an IPv6 address: NAT64, 6to4, or the old compatible form."""
    if not isinstance(address, ipaddress.IPv6Address) or address in _THIS_MACHINE:
        return ()
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    wrapped = (low,) if address in _NAT64 or address in _COMPATIBLE else ()
    return wrapped if address.sixtofour is None else (*wrapped, address.sixtofour)


def _is_within(network: Network, outer: Network) -> bool:
    """Return whether `outer` contains all of `network`. Networks of different IP versions never contain each other."""
    return network.version == outer.version and network[0] in outer and network[-1] in outer


#: Longer URLs are refused, before and after normalising, in characters.
MAX_URL_LENGTH = 2048

#: The default port of each scheme.
DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: Some clients read a host whose last label is a number as an address (WHATWG URL, "ends in a number").
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)", re.DOTALL)
#: Characters that stay unchanged in a path and a query. All others are percent-encoded. The result is sent byte for
#: byte.
_KEPT = "!#$%&'()*+,/:;=?@[]~-._"

#: Replaces a query that is not shown. A normalised URL never contains this character, which would be percent-encoded.
HIDDEN = "…"
#: The part of a URL before its query or fragment, with the `?` or `#` that begins a query or fragment with content.
_BEFORE_QUERY = re.compile(r"([^?#]*[?#]).+", re.DOTALL)
#: A byte in percent-encoding.
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
#: Shorter values of a query appear in many texts by chance. In characters.
_MIN_SECRET = 6

#: Characters that no form of a URL can contain, each with the reason. Listed by code point, since the Unicode
#: categories differ between Python versions.
_REFUSED_CHARACTERS = (
    (
        re.compile(r"[\x00-\x20\x7f-\xa0\\\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"),
        "contains a space, a control character or a backslash",
    ),
    (
        re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"),  # bidirectional controls: Unicode, UAX 9
        "contains a control of the direction of text, which lets it read as another URL",
    ),
    (re.compile(r"[\ud800-\udfff]"), "contains half of a character, a lone surrogate"),
)


class CallbackRefused(ValueError):
    """The URL is not a callback URL, or the rules do not allow its destination. The message gives the reason."""


class DestinationNotAllowed(CallbackRefused):
    """The rules do not allow the destination of the URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRules:
    """Exceptions that operators allow beyond `https:` on port 443 to public addresses."""

    allow_http: bool = False
    #: Networks that are allowed although they are not public.
    allowed_networks: tuple[Network, ...] = ()
    #: Networks that are refused, whether they are public or allowed.
    refused_networks: tuple[Network, ...] = ()
    #: Hosts that callbacks may go to, exact or `*.suffix`. None allows every host.
    allowed_hosts: frozenset[str] | None = None
    #: Ports that are allowed. None allows every port.
    allowed_ports: frozenset[int] | None = frozenset({443})
    #: Whether the start of an answer is kept even if the answer comes from an address that is not public.
    keep_answers: bool = False

    def allows_address(self, address: Address) -> bool:
        """Return whether a callback may connect to `address`."""
        real = unmapped(address)
        if any(real in network for network in self.refused_networks):
            return False
        return is_public(real) or any(opens(network, real) for network in self.allowed_networks)

    def allows_host(self, name: str) -> bool:
        """Return whether callbacks may go to the host `name`, as a normalised URL writes it."""
        if self.allowed_hosts is None:
            return True
        suffixes = (each[1:] for each in self.allowed_hosts if each.startswith("*."))
        return name in self.allowed_hosts or any(name.endswith(suffix) for suffix in suffixes)

    def keeps_answer_of(self, address: str | None) -> bool:
        """Return whether an answer from `address` may be kept and shown.

        By default only answers of public addresses are: the bridge must not be a way to read inner services.
        """
        return self.keep_answers or (address is not None and _is_public(address))

    def allows_port(self, port: int) -> bool:
        """Return whether a callback may connect to `port`. `allow_http` implies port 80."""
        return (
            self.allowed_ports is None
            or port in self.allowed_ports
            or (self.allow_http and port == DEFAULT_PORTS["http"])
        )


def normalise(url: str, rules: CallbackRules) -> str:
    """Parse a callback URL and return the normalised form, which is stored, compared, signed for and called.

    Raises CallbackRefused with the reason.
    """
    _check_characters(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CallbackRefused("is not a URL") from error
    scheme = parts.scheme.lower()
    _check_parts(scheme, url, parts.netloc, rules)
    if not host:
        raise CallbackRefused("has no host")
    if port == 0 or not rules.allows_port(port or DEFAULT_PORTS[scheme]):
        raise DestinationNotAllowed(f"uses port {port or DEFAULT_PORTS[scheme]}, which is not allowed")
    named = _read_host(host, bracketed="[" in parts.netloc)
    _check_host(named, rules)
    authority = _written(named)
    if port is not None and port != DEFAULT_PORTS[scheme]:
        authority = f"{authority}:{port}"
    path = quote(parts.path or "/", safe=_KEPT)
    query = f"?{quote(parts.query, safe=_KEPT)}" if "?" in url else ""  # an empty query stays, too
    normalised = f"{scheme}://{authority}{path}{query}"
    if len(normalised) > MAX_URL_LENGTH:
        raise CallbackRefused(f"is longer than {MAX_URL_LENGTH} characters")
    return normalised


def normalise_host(text: str) -> str:
    """Parse a host, or a host and port, like those of a callback URL, and write them like a normalised URL.

    A given port is kept, even the default port of a scheme. No rule about destinations is applied, since the rules may
    have allowed the host before. Raises CallbackRefused with the reason.
    """
    _check_characters(text)
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CallbackRefused("is not a host") from error
    if not host or parts.netloc != text or "@" in text or port == 0:
        raise CallbackRefused("is not a host")
    name = _written(_read_host(host, bracketed="[" in text))
    return name if port is None else f"{name}:{port}"


def normalise_name(text: str) -> str:
    """Parse a host without a port, a name or an address, and write it in the form that `allows_host` compares.

    An IPv6 address may stand in brackets. Raises CallbackRefused with the reason.
    """
    _check_characters(text)
    return str(_read_host(text.removeprefix("[").removesuffix("]"), bracketed=":" in text))


def origin_of(url: str) -> str:
    """Return scheme, host and port of a normalised URL: the receiver that a message is signed for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def host_and_port(url: str) -> str:
    """Return the part of a normalised URL that a log may show. The rest can contain secrets."""
    return urlsplit(url).netloc


def hosts_of(url: str) -> tuple[str, str]:
    """Return the host of a normalised URL in the two forms of `normalise_host`: as a name, and with its port."""
    parts = urlsplit(url)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return name, f"{name}:{parts.port or DEFAULT_PORTS[parts.scheme]}"


def without_query(url: str) -> str:
    """Write a URL for lists, pages, commands and logs: `?…` replaces a query, which can contain a secret.

    A URL without a query, or with an empty one, is unchanged. So is a URL with an already hidden query.
    """
    return _BEFORE_QUERY.sub(rf"\g<1>{HIDDEN}", url)


def hide_query(text: str, url: str) -> str:
    """Replace the query of `url` and its values by `…` in a receiver's answer, which can repeat the request.

    Values are also found in percent-encoding, and with the escaped slashes of JSON. Values with fewer than six
    characters stay. A value that is cut off at the end of the text is hidden, too.
    """
    query = url.partition("?")[2]
    values = [each.partition("=")[2] or each for each in query.split("&")]
    texts = {query, *(text for each in values for text in (each, unquote(each), unquote_plus(each)))}
    forms = {form for each in texts if len(each) >= _MIN_SECRET for form in _repeated(each)}
    secrets = sorted(forms, key=len, reverse=True)
    for each in secrets:
        text = text.replace(each, HIDDEN)
    for each in secrets:
        starts = (each[:size] for size in range(len(each) - 1, _MIN_SECRET - 1, -1))
        cut_off = next((start for start in starts if text.endswith(start)), "")
        text = text.removesuffix(cut_off) + HIDDEN if cut_off else text
    return text


def _repeated(text: str) -> tuple[str, ...]:
    """Write a text in the forms that answers repeat: unchanged, percent-encoded in both letter cases, and in JSON."""
    encoded = quote(text, safe="")
    lower = _ESCAPE.sub(lambda found: found[0].lower(), encoded)
    return text, encoded, lower, text.replace("/", "\\/")


@lru_cache(maxsize=1024)  # checked for every answer, and receivers are few
def _is_public(address: str) -> bool:
    return is_public(unmapped(ipaddress.ip_address(address)))


def _check_characters(url: str) -> None:
    if len(url) > MAX_URL_LENGTH:
        raise CallbackRefused(f"is longer than {MAX_URL_LENGTH} characters")
    for characters, why in _REFUSED_CHARACTERS:
        if characters.search(url):
            raise CallbackRefused(why)


def _check_parts(scheme: str, url: str, netloc: str, rules: CallbackRules) -> None:
    if scheme not in DEFAULT_PORTS:
        raise CallbackRefused("must begin with https:// (or http:// where that is allowed)")
    if scheme == "http" and not rules.allow_http:
        raise DestinationNotAllowed("must use https")
    if "@" in netloc:
        raise CallbackRefused("contains a user name or password: send credentials otherwise")
    if "#" in url:
        raise CallbackRefused("contains a fragment, which is never sent")


def _read_host(host: str, *, bracketed: bool) -> str | Address:
    """Parse the host of a URL: a name in ASCII and lower case, or an address."""
    if bracketed:
        return _read_address(host, ipaddress.IPv6Address)
    name = _ascii_name(host)
    if _ENDS_IN_NUMBER.fullmatch(name):
        return _read_address(name, ipaddress.IPv4Address)
    if not _NAME.fullmatch(name):
        raise CallbackRefused("has a host that is not a name")
    return name


def _read_address(text: str, kind: type[Address]) -> Address:
    if "%" in text:
        raise CallbackRefused("has an address with a scope")
    try:
        return kind(text)
    except ValueError as error:
        raise CallbackRefused("has an address in an unusual notation: write it in the usual one") from error


def _written(host: str | Address) -> str:
    """Write a host in the form of a URL: an IPv6 address in brackets."""
    return f"[{host}]" if isinstance(host, ipaddress.IPv6Address) else str(host)


def _check_host(host: str | Address, rules: CallbackRules) -> None:
    address = host
    if host == "localhost" or (isinstance(host, str) and host.endswith(".localhost")):
        address = ipaddress.IPv4Address("127.0.0.1")
    if not isinstance(address, str) and not rules.allows_address(address):
        raise DestinationNotAllowed("points to an address that is not public")
    if not rules.allows_host(str(host)):
        raise DestinationNotAllowed("names a host that is not among those allowed")


def _ascii_name(host: str) -> str:
    """Map a host to ASCII (UTS 46) in lower case, without the final dot of the root."""
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
        ascii_name = mapped if mapped.isascii() else idna.encode(mapped).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise CallbackRefused("has a host that is not a name") from error
    return ascii_name.lower().removesuffix(".")
