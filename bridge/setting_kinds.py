"""The kinds of values that settings have: how each is read, and what is said of one that cannot be.

Every reader is for pydantic's validation: it raises ValueError with what to do, and never with the value.
"""

import base64
import binascii
import ipaddress
import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from bridge.domain.clouds import wrong_speech_endpoint
from bridge.domain.derivation import MIN_KEY_BYTES
from bridge.domain.key_strength import weakness_of
from bridge.domain.networks import Network

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
MAKE_KEY = 'make one with: python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
_UNRESOLVED = "@Microsoft.KeyVault("
_SCHEDULE_FIELDS = 6
_MAX_PORT = 65535
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+", re.ASCII)


def _resolved(value: object) -> object:
    """Notice a Key Vault reference that did not resolve: it arrives as its own text."""
    if isinstance(value, str) and value.startswith(_UNRESOLVED):
        raise ValueError("its Key Vault reference did not resolve: check the identity's access to the vault")
    return value


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(str(value).strip())
    if found is None:
        raise ValueError("write a whole number with a unit: 45s, 15m, 24h or 30d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _keys(value: object) -> object:
    if isinstance(_resolved(value), tuple):
        return value
    return tuple(dict.fromkeys(_key(part.strip()) for part in str(value).split(",")))


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"each key is base64; {MAKE_KEY}") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"each key has {MIN_KEY_BYTES} bytes or more; {MAKE_KEY}")
    weakness = weakness_of(key, text)
    if weakness is not None:
        raise ValueError(f"a key {weakness}; {MAKE_KEY}")
    return key


def _networks(value: object) -> object:
    if isinstance(value, tuple):
        return value
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in str(value).split(",") if part.strip())
    except ValueError:
        raise ValueError("write networks as 10.0.0.0/8, separated by commas") from None


def _ports(value: object) -> object:
    if value is None or isinstance(value, frozenset):
        return value
    if str(value).strip() == "*":
        return None
    parts = [part.strip() for part in str(value).split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= _MAX_PORT for part in parts):
        raise ValueError("write ports separated by commas, or * for every port")
    return frozenset(int(part) for part in parts)


def _hosts(value: object) -> object:
    if value is None or isinstance(value, frozenset):
        return value
    hosts = frozenset(part.strip().lower() for part in str(value).split(",") if part.strip())
    if not hosts or not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("write hosts separated by commas, each a name, an address or *.suffix")
    return hosts


def _url(value: object) -> str:
    text = str(_resolved(value)).strip().rstrip("/")
    if not _is_endpoint(text):
        raise ValueError("write it as https://name.example.com")
    return text


def _endpoint(value: object) -> str:
    text = _url(value)
    parts = urlsplit(text)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise ValueError("write it with https: what is sent over http:, keys and tokens too, can be read on the way")
    return text


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _speech_endpoint(value: object) -> str:
    text = _endpoint(value)
    wrong = wrong_speech_endpoint(text)
    if wrong is not None:
        raise ValueError(wrong)
    return text


def _speech_endpoints(value: object) -> object:
    if isinstance(value, tuple):
        return value
    return tuple(dict.fromkeys(_speech_endpoint(part) for part in str(value).split(",") if part.strip()))


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_right = parts.port != 0  # what is no port raises
    except ValueError:
        return False
    more = (parts.query, parts.fragment, "@" if "@" in parts.netloc else "")
    return port_is_right and parts.scheme in ("http", "https") and bool(parts.hostname) and not any(more)


def _authority(value: object) -> object:
    text = _url(value)
    parts = urlsplit(text)
    if parts.scheme != "https" and parts.hostname != "127.0.0.1":
        raise ValueError("write it as https://login.microsoftonline.com: what comes over http: is anybody's word")
    return text


def _public_url(value: object) -> object:
    """Read it as the command line reads `BRIDGE_URL`, of which it is the public form: `/api` may follow."""
    text = _url(value).removesuffix("/api").rstrip("/")
    parts = urlsplit(text)
    if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
        raise ValueError("write it as https://hooks.example.com: clients send their key there")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("has a character that no address has: copy it again")
    return text


def _tenant(value: object) -> object:
    text = str(value).strip().lower()
    if not _TENANT.fullmatch(text):
        raise ValueError("write the tenant's id, 8-4-4-4-12 hexadecimal digits, not its name")
    return text


def _audience(value: object) -> object:
    text = str(value).strip()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("write one audience: the client id of the bridge's app registration, or its api:// URI")
    return text


def _header(value: object) -> object:
    text = str(_resolved(value)).strip()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("has a character that no key has: copy it again")
    return text


def _connection(value: object) -> object:
    """Read it without the semicolon at its end, which .NET writes and Azure's Python libraries do not take."""
    if isinstance(value, SecretStr):
        return value
    text = str(_resolved(value)).strip().rstrip(";").rstrip()
    key = re.search(r"(?:^|;)AccountKey=([^;]*)", text)
    try:
        base64.b64decode(key[1] if key else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("has an AccountKey that is none: copy the connection string again") from None
    return text


def _schedule(value: object) -> object:
    if len(str(value).split()) != _SCHEDULE_FIELDS:
        raise ValueError("write six fields, seconds first: */10 * * * * *")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(seconds=1))]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]
SpeechEndpoint = Annotated[str, BeforeValidator(_speech_endpoint)]
SpeechEndpoints = Annotated[tuple[str, ...], BeforeValidator(_speech_endpoints)]
PublicUrl = Annotated[str, BeforeValidator(_public_url)]
Authority = Annotated[str, BeforeValidator(_authority)]
TenantId = Annotated[str, BeforeValidator(_tenant)]
Audience = Annotated[str, BeforeValidator(_audience)]
HeaderSecret = Annotated[SecretStr, BeforeValidator(_header)]
ConnectionString = Annotated[SecretStr, BeforeValidator(_connection)]
SigningKeys = Annotated[tuple[bytes, ...], BeforeValidator(_keys), Field(repr=False)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
Hosts = Annotated[frozenset[str] | None, BeforeValidator(_hosts)]
Ports = Annotated[frozenset[int] | None, BeforeValidator(_ports)]
Schedule = Annotated[str, BeforeValidator(_schedule)]
