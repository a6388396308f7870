"""The variables that `azd env set` sets, and the values that each can have.

An empty value counts as absent. The settings of the app that no template looks at are checked by the app, which names
each wrong one. Combinations are refused by main.bicep, but for those of a secret, which are refused here.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

#: The least and the most that Flex Consumption takes.
_MEMORIES = ("512", "2048", "4096")
_MOST_INSTANCES = 1000
_MOST_REQUESTS = 1000

#: The most dead deliveries that an alert can wait for, within its 15 minutes.
_MOST_DEAD = 100_000

_LONGEST_NAME = 40
_LONGEST_SECRET_NAME = 127
#: What an app's access restrictions hold.
_MOST_RANGES = 512
#: The smallest range that has both subnets, and the largest that a network takes.
_SMALLEST_PREFIX, _LARGEST_PREFIX = 24, 8

_PRIVATE = tuple(ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

#: The number that stands for no limit of the log, and the least limit.
_NO_CAP, _LEAST_CAP = -1.0, 0.1
_NUMBER = re.compile(r"-?\d{1,6}(\.\d{1,3})?", re.ASCII)

_NAME = re.compile(r"[A-Za-z0-9()._-]*[A-Za-z0-9()_-]", re.ASCII)
_REGION = re.compile(r"[A-Za-z][A-Za-z0-9 ]*", re.ASCII)
_ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_GUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GROUP = rf"/subscriptions/{_GUID}/resourceGroups/[^/\s]+/providers"
_SPEECH = re.compile(rf"{_GROUP}/Microsoft\.CognitiveServices/accounts/[A-Za-z0-9._-]+", re.ASCII | re.IGNORECASE)
_ACTION_GROUP = re.compile(rf"{_GROUP}/Microsoft\.Insights/actionGroups/[^/\s]+", re.IGNORECASE)

#: Names of settings of the app and its host: a variable of a key must not replace one.
_TAKEN = re.compile(
    r"(AzureWebJobs|APPINSIGHTS_|APPLICATIONINSIGHTS_|BRIDGE_|FUNCTIONS_|PYTHON_|WEBSITE_).*"
    r"|SPEECH_(API_VERSION|ENDPOINT|KEY|OTHER_ENDPOINTS|PATH|REQUESTS_PER_SECOND)",
    re.IGNORECASE,
)


def _is_whole(least: int, most: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most


def _is_bool(text: str) -> bool:
    return text.lower() in ("true", "false")


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def _is_network_range(text: str) -> bool:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return False
    right_size = "/" in text and _LARGEST_PREFIX <= network.prefixlen <= _SMALLEST_PREFIX
    return right_size and any(network.subnet_of(each) for each in _PRIVATE)


def _are_ranges(text: str) -> bool:
    ranges = [part.strip() for part in text.split(",")]
    try:
        networks = [ipaddress.ip_network(each) for each in ranges]
    except ValueError:
        return False
    return all("/" in each for each in ranges) and len(set(networks)) == len(networks) <= _MOST_RANGES


def _is_cap(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and (float(text) == _NO_CAP or float(text) >= _LEAST_CAP)


def _is_https(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    more = parts.query or parts.fragment or "@" in parts.netloc or re.search(r"\s", text)
    return parts.scheme == "https" and bool(parts.hostname) and port != 0 and not more


def _are_endpoints(text: str) -> bool:
    return all(_is_https(part.strip()) for part in text.split(","))


def _are_variables(text: str) -> bool:
    names = [part.strip() for part in text.split(",")]
    are_free = all(_VARIABLE.fullmatch(each) and not _TAKEN.fullmatch(each) for each in names)
    are_short = all(len(each) <= _LONGEST_SECRET_NAME for each in names)
    return are_free and are_short and len({each.lower() for each in names}) == len(names)


def _is_key(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


#: Each variable: the check of a value, and what the value can be.
_VALUES: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "AZURE_ENV_NAME": (
        _is_name,
        f"1 to {_LONGEST_NAME} letters, digits, `-`, `_`, `.`, `(` and `)`, and no dot at the end",
    ),
    "AZURE_LOCATION": (lambda text: _REGION.fullmatch(text) is not None, "a region, `westeurope` for instance"),
    "INSTANCE_MEMORY_MB": (lambda text: text in _MEMORIES, "512, 2048 or 4096"),
    "MAXIMUM_INSTANCES": (_is_whole(1, _MOST_INSTANCES), f"a whole number from 1 to {_MOST_INSTANCES}"),
    "ALWAYS_READY_HTTP": (_is_whole(0, _MOST_INSTANCES), "a whole number from 0 to MAXIMUM_INSTANCES"),
    "ALWAYS_READY_DELIVER": (_is_whole(0, _MOST_INSTANCES), "a whole number from 0 to MAXIMUM_INSTANCES"),
    "HTTP_PER_INSTANCE": (_is_whole(1, _MOST_REQUESTS), f"a whole number from 1 to {_MOST_REQUESTS}"),
    "PRIVATE_NETWORKING": (_is_bool, "true or false"),
    "NETWORK_RANGE": (
        _is_network_range,
        (
            f"an IPv4 network of /{_LARGEST_PREFIX} to /{_SMALLEST_PREFIX} within 10.0.0.0/8, 172.16.0.0/12 or"
            " 192.168.0.0/16, by its first address: 10.60.0.0/24"
        ),
    ),
    "API_ALLOWED_RANGES": (
        _are_ranges,
        (
            f"at most {_MOST_RANGES} different networks, each by its first address, separated by commas:"
            " 198.51.100.0/24,203.0.113.7/32"
        ),
    ),
    "ALERT_EMAIL": (lambda text: _ADDRESS.fullmatch(text) is not None, "one address: operators@example.com"),
    "ALERT_ACTION_GROUP_ID": (
        lambda text: _ACTION_GROUP.fullmatch(text) is not None,
        "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Insights/actionGroups/{name}",
    ),
    "RUNBOOK_URL": (_is_https, "an https: address, without a `#`"),
    "ALERT_DEAD_DELIVERIES": (_is_whole(1, _MOST_DEAD), f"a whole number from 1 to {_MOST_DEAD}"),
    "LOG_DAILY_CAP_GB": (_is_cap, "a number from 0.1, with a dot, or -1 for no limit"),
    "SPEECH_RESOURCE_ID": (
        lambda text: _SPEECH.fullmatch(text) is not None,
        "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}",
    ),
    "SPEECH_ENDPOINT": (_is_https, "an https: address: https://westeurope.api.cognitive.microsoft.com"),
    "SPEECH_OTHER_ENDPOINTS": (_are_endpoints, "https: addresses, separated by commas"),
    "SPEECH_USES_KEY": (_is_bool, "true or false"),
    "NEW_SPEECH_KEY": (_is_key, "a key as it is copied from the portal, without spaces"),
    "KEY_VARIABLES": (
        _are_variables,
        "different names of letters, digits and `_`, separated by commas, that no setting has: VOICES_KEY",
    ),
    "BRIDGE_AUTH": (lambda text: text in ("key", "entra"), "key or entra"),
}

#: The variables that this module checks.
CHECKED = frozenset(_VALUES)


def problems(environ: Mapping[str, str]) -> list[str]:
    """List every wrong value, by its variable and with the values that are right. No value is shown: one is a key."""
    found = [
        f"{name} can be {allowed}"
        for name, (is_right, allowed) in _VALUES.items()
        if environ.get(name) and not is_right(environ[name])
    ]
    if environ.get("NEW_SPEECH_KEY") and environ.get("SPEECH_USES_KEY", "").lower() != "true":
        found.append(
            "NEW_SPEECH_KEY is given, but SPEECH_USES_KEY is not true: a source has one credential, the key or the"
            " identity"
        )
    return found
