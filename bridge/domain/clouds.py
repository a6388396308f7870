"""Azure's clouds: the cloud of a Speech endpoint, the scope of its tokens, and the check for wrong endpoints.

Sources: "Speech service in sovereign clouds" (endpoints), and the audiences that Azure's libraries for AI services
offer for each cloud (scopes).
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One of Azure's clouds, as far as Speech is concerned."""

    #: The suffix of a resource's own endpoint, and the host in the scope of Entra tokens.
    ai_services: str
    #: The suffix of regional endpoints, which accept keys but no Entra tokens.
    regional: str
    #: The suffix of hosts of the real-time services and of the portal, which have no batch API.
    real_time: str

    @property
    def scope(self) -> str:
        """The scope of Entra tokens for Speech."""
        return f"https://{self.ai_services}/.default"

    def has(self, host: str) -> bool:
        """Return whether a host is one of this cloud's for AI services."""
        suffixes = (self.ai_services, self.regional, self.real_time, self._foundry)
        return any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes)

    def speech_host(self, host: str) -> bool:
        """Return whether a host can have the batch APIs of a resource: one label before the cloud's suffix."""
        suffixes = (self.ai_services, self.regional, self._foundry)
        return any(re.fullmatch(rf"[a-z0-9-]+\.{re.escape(suffix)}", host) for suffix in suffixes)

    @property
    def _foundry(self) -> str:
        return self.ai_services.replace("cognitiveservices", "services.ai")


PUBLIC = Cloud(
    ai_services="cognitiveservices.azure.com",
    regional="api.cognitive.microsoft.com",
    real_time="speech.microsoft.com",
)
GOVERNMENT = Cloud(
    ai_services="cognitiveservices.azure.us",
    regional="api.cognitive.microsoft.us",
    real_time="speech.azure.us",
)
CHINA = Cloud(
    ai_services="cognitiveservices.azure.cn",
    regional="api.cognitive.azure.cn",
    real_time="speech.azure.cn",
)
CLOUDS = (PUBLIC, GOVERNMENT, CHINA)

#: Paths of a token request or of a single call, as portals and samples show them. A gateway may have any other path.
_PATH_OF_A_CALL = re.compile(r".*/(?:issuetoken|operations|batchsyntheses)(?:/.*)?", re.IGNORECASE)

_RIGHT_FORM = (
    "write https://NAME.cognitiveservices.azure.com, or with a key https://REGION.api.cognitive.microsoft.com, "
    "and nothing after the host"
)


def cloud_of(endpoint: str) -> Cloud:
    """Return the cloud of an endpoint. A host outside of Azure, like a gateway's, counts as the public cloud."""
    host = _host(endpoint)
    return next((cloud for cloud in CLOUDS if cloud.has(host)), PUBLIC)


def takes_keys_only(endpoint: str) -> bool:
    """Return whether an endpoint is regional, and so accepts no Entra token."""
    host = _host(endpoint)
    return any(host.endswith(f".{cloud.regional}") for cloud in CLOUDS)


def wrong_speech_endpoint(endpoint: str) -> str | None:
    """Return the right form for an endpoint that cannot have the batch APIs of Speech, or None for a possible one."""
    host, path = _host(endpoint), urlsplit(endpoint).path
    for cloud in CLOUDS:
        if cloud.has(host):
            return _in_cloud(cloud) if path or not cloud.speech_host(host) else None
    return _RIGHT_FORM if _PATH_OF_A_CALL.fullmatch(path) or _is_a_portal(host) else None


def _in_cloud(cloud: Cloud) -> str:
    right = _RIGHT_FORM.replace(PUBLIC.ai_services, cloud.ai_services)
    return right.replace(PUBLIC.regional, cloud.regional)


def _is_a_portal(host: str) -> bool:
    """Return whether a host is a portal or a management endpoint. Their addresses are often copied by mistake."""
    portals = ("portal.azure.com", "portal.azure.us", "portal.azure.cn", "ai.azure.com", "cris.ai")
    managers = ("management.azure.com", "management.usgovcloudapi.net", "management.chinacloudapi.cn")
    return any(host == each or host.endswith(f".{each}") for each in (*portals, *managers))


def _host(endpoint: str) -> str:
    return (urlsplit(endpoint).hostname or "").rstrip(".")
