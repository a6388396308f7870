"""Several sources: found by location, with separate keys and budgets."""

import json

import pytest

from bridge.domain.errors import Misconfigured
from bridge.domain.ids import OperationRef
from bridge.domain.upstream import Reply
from bridge.settings import read_settings
from tests.support.harness import ENVIRONMENT, harness
from tests.support.http import Client

VOICES = {
    "name": "voices",
    "endpoint": "https://voices.cognitiveservices.azure.com",
    "otherEndpoints": ["https://westeurope.api.cognitive.microsoft.com"],
    "path": "customvoice",
    "keyVariable": "VOICES_KEY",
    "requestsPerSecond": 100,
}
HOOK = "https://receiver.example.com/hook"


def environment(*entries: dict[str, object], **more: str) -> dict[str, str]:
    """Return the environment with these sources."""
    return {"BRIDGE_SOURCES": json.dumps(entries), "VOICES_KEY": "voices-key", **more}


@pytest.mark.parametrize(
    "location",
    [
        "https://voices.cognitiveservices.azure.com/customvoice/operations/operation-1?api-version=2026-01-01",
        "https://westeurope.api.cognitive.microsoft.com/customvoice/operations/operation-1",
        "https://WestEurope.api.cognitive.microsoft.com:443/customvoice/operations/operation-1?api-version=1",
    ],
)
def test_a_location_finds_its_source_by_endpoint_and_path(location: str) -> None:
    """Any endpoint of the resource counts. The event types follow from the path."""
    bridge = harness(**environment(VOICES))  # type: ignore[arg-type]
    created = Client.of(bridge).register({"operationLocation": location, "callbackUrl": HOOK})
    bridge.upstream.script("operation-1", "Succeeded")

    bridge.sweep()
    bridge.deliver_all()

    assert created.body["operation"]["source"] == "voices"
    assert bridge.upstream.asked == [OperationRef("voices", "operation-1")]
    assert json.loads(bridge.sender.posted[0].body)["type"] == "customvoice.operation.succeeded"


def test_a_source_can_be_named() -> None:
    """The same operation id in the default source is another operation."""
    bridge = harness(**environment(VOICES))  # type: ignore[arg-type]
    client = Client.of(bridge)

    ids = [
        client.register({"operationId": "operation-1", "callbackUrl": HOOK, **source}).body["id"]
        for source in ({}, {"source": "voices"})
    ]

    assert [each.partition("~")[0] for each in ids] == ["default", "voices"]
    bridge.sweep()
    assert {ref.source for ref in bridge.upstream.asked} == {"default", "voices"}


def test_a_paused_source_pauses_no_other() -> None:
    """Each source has a separate budget and pause."""
    bridge = harness(**environment(VOICES))  # type: ignore[arg-type]
    client = Client.of(bridge)
    for source, operation_id in (("default", "operation-1"), ("voices", "operation-2")):
        client.register({"operationId": operation_id, "callbackUrl": HOOK, "source": source})
    bridge.upstream.script("operation-1", Reply(status=401))

    for _ in range(5):
        bridge.sweep()
        bridge.clock.advance(15)

    asked = [ref.source for ref in bridge.upstream.asked]
    assert (asked.count("default"), asked.count("voices")) == (2, 5)


def test_each_source_has_its_own_key() -> None:
    """The entry names the variable of the key."""
    settings = read_settings({**ENVIRONMENT, **environment(VOICES)})

    keys = {name: key.get_secret_value() for name, key in settings.source_keys.items()}
    assert keys == {"default": "speech-key", "voices": "voices-key"}
    assert "voices-key" not in repr(settings)


def test_an_api_version_has_a_default_for_each_path() -> None:
    """The default is the version of the public reference."""
    settings = read_settings({**ENVIRONMENT, **environment(VOICES)})

    assert settings.sources[1].api_version == "2026-01-01"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"BRIDGE_SOURCES": "nonsense"}, "BRIDGE_SOURCES"),
        ({"BRIDGE_SOURCES": "{}"}, "BRIDGE_SOURCES"),
        ({"BRIDGE_SOURCES": "[7]"}, "BRIDGE_SOURCES"),
        (environment({**VOICES, "name": "default"}), "BRIDGE_SOURCES"),
        (environment({**VOICES, "name": "Voices"}), "BRIDGE_SOURCES"),
        (environment(VOICES, VOICES), "BRIDGE_SOURCES"),
        (environment(VOICES, {**VOICES, "name": "again"}), "BRIDGE_SOURCES"),
        (environment({**VOICES, "path": "speech"}), "BRIDGE_SOURCES"),
        (environment({**VOICES, "endpoint": "voices"}), "BRIDGE_SOURCES"),
        (environment({**VOICES, "requestsPerSecond": 0}), "BRIDGE_SOURCES"),
        (environment({**VOICES, "colour": "blue"}), "BRIDGE_SOURCES"),
        (environment(VOICES, VOICES_KEY=""), "VOICES_KEY"),
        (environment(VOICES, VOICES_KEY="a\nb"), "VOICES_KEY"),
        (
            environment({**VOICES, "endpoint": VOICES["otherEndpoints"][0], "otherEndpoints": [], "keyVariable": None}),  # type: ignore[index]
            "BRIDGE_SOURCES",
        ),
        ({"SPEECH_ENDPOINT": "https://westeurope.api.cognitive.microsoft.com", "SPEECH_KEY": ""}, "SPEECH_KEY"),
    ],
)
def test_an_invalid_source_is_named(change: dict[str, str], name: str) -> None:
    """The error has the name of the variable."""
    with pytest.raises(Misconfigured) as caught:
        read_settings({**ENVIRONMENT, **change})

    assert list(caught.value.problems) == [name]


def test_a_custom_subdomain_needs_no_key() -> None:
    """The source uses an Entra token."""
    settings = read_settings({**ENVIRONMENT, **environment({**VOICES, "keyVariable": None})})

    assert "voices" not in settings.source_keys


def test_the_default_source_has_other_endpoints_too() -> None:
    """Speech answers with the regional host, even for requests to the resource's own name."""
    regional = "https://westeurope.api.cognitive.microsoft.com"
    own = "https://n.cognitiveservices.azure.com"

    settings = read_settings(
        {**ENVIRONMENT, "SPEECH_ENDPOINT": own, "SPEECH_OTHER_ENDPOINTS": f" {regional}/ , {own},{regional}"}
    )

    [default] = settings.sources
    assert default.other_endpoints == (regional, own)
    assert default.locate(f"{regional}/avatar/operations/operation-1") is not None


@pytest.mark.parametrize(
    "value", ["westeurope", "https://a.example, http://b.example", "https://n.tts.speech.azure.us"]
)
def test_every_endpoint_of_the_default_source_is_checked(value: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings({**ENVIRONMENT, "SPEECH_OTHER_ENDPOINTS": value})

    assert list(caught.value.problems) == ["SPEECH_OTHER_ENDPOINTS"]
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["https://usgovvirginia.api.cognitive.microsoft.us", "https://chinaeast2.api.cognitive.azure.cn"]
)
def test_a_regional_endpoint_of_any_cloud_needs_a_key(endpoint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings({**ENVIRONMENT, "SPEECH_ENDPOINT": endpoint, "SPEECH_KEY": ""})

    assert list(caught.value.problems) == ["SPEECH_KEY"]
