"""Wrong combinations of parameters are refused: the conditions of main.bicep, worked out for what somebody chose."""

import re
from collections.abc import Mapping

import pytest

from local.settings import REPOSITORY
from tests.infra.bicep import Template, properties, text, walk

MAIN = Template.read(REPOSITORY / "infra" / "main.bicep")

SPEECH = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/speech"
REGIONAL = "https://westeurope.api.cognitive.microsoft.com"

#: What main.bicepparam hands over where nothing is chosen, of what the conditions ask about.
NOTHING: dict[str, object] = {
    "privateNetworking": False,
    "networkRange": "",
    "speechResourceId": "",
    "speechEndpoint": "",
    "speechUsesKey": False,
    "newSpeechKey": "",
    "settings": {"BRIDGE_AUTH": "", "BRIDGE_AUTH_TENANT": "", "BRIDGE_AUTH_AUDIENCE": ""},
}

#: The functions of Bicep that the conditions call.
FUNCTIONS = {
    "empty": lambda value: len(value) == 0,
    "length": len,
    "contains": lambda whole, key: key in whole,
    "split": lambda whole, by: whole.split(by),
}


def evaluate(expression: str, names: Mapping[str, object]) -> object:
    """Work out an expression of Bicep in Python: what the conditions use of it differs only in how it is written."""
    expression = expression.replace("&&", " and ").replace("||", " or ")
    expression = re.sub(r"\bsettings\.(\w+)", r"settings['\1']", re.sub(r"!(?!=)", " not ", expression))
    return eval(expression, {"__builtins__": {}}, {**FUNCTIONS, **names})  # noqa: S307 - what main.bicep says


def refused(chosen: Mapping[str, object]) -> list[str]:
    """Give the reasons that somebody is told."""
    names = {**NOTHING, **chosen}
    for name in ("speechIsNamed", "speechIsCreated", "speechParts", "byToken"):
        names[name] = evaluate(text(MAIN.of_kind("var")[name].node).partition(" = ")[2], names)
    refusals = [properties(each) for each in walk(MAIN.of_kind("var")["refusals"].node) if each.type == "object"]
    return [text(each["why"]).strip("'") for each in refusals if evaluate(text(each["holds"]), names)]


def tokens(**settings: str) -> dict[str, object]:
    """Choose tokens."""
    return {"settings": {"BRIDGE_AUTH": "entra", "BRIDGE_AUTH_TENANT": "", "BRIDGE_AUTH_AUDIENCE": "", **settings}}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"privateNetworking": True, "networkRange": "10.60.0.0/24"},
        {"speechResourceId": SPEECH},
        {"speechResourceId": SPEECH, "speechUsesKey": True},
        {"speechResourceId": SPEECH, "speechUsesKey": True, "newSpeechKey": "key"},
        {"speechEndpoint": REGIONAL, "speechUsesKey": True, "newSpeechKey": "key"},
        tokens(BRIDGE_AUTH_TENANT="tenant", BRIDGE_AUTH_AUDIENCE="client"),
        {"settings": {}},
    ],
)
def test_what_can_be_right_is_not_refused(chosen: dict[str, object]) -> None:
    """Each way that README.md describes."""
    assert refused(chosen) == []


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"privateNetworking": True}, "PRIVATE_NETWORKING needs NETWORK_RANGE"),
        ({"networkRange": "10.60.0.0/24"}, "NETWORK_RANGE is given"),
        ({"speechResourceId": SPEECH, "speechEndpoint": REGIONAL, "speechUsesKey": True}, "give SPEECH_RESOURCE_ID or"),
        ({"speechEndpoint": REGIONAL}, "SPEECH_ENDPOINT needs SPEECH_USES_KEY"),
        ({"speechResourceId": SPEECH, "newSpeechKey": "key"}, "NEW_SPEECH_KEY is given"),
        ({"speechUsesKey": True}, "SPEECH_USES_KEY needs SPEECH_RESOURCE_ID"),
        ({"speechResourceId": "speech"}, "SPEECH_RESOURCE_ID is not the id"),
        (tokens(), "BRIDGE_AUTH=entra needs"),
        (tokens(BRIDGE_AUTH_TENANT="tenant"), "BRIDGE_AUTH=entra needs"),
        (tokens(BRIDGE_AUTH_AUDIENCE="client"), "BRIDGE_AUTH=entra needs"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_reason(chosen: dict[str, object], why: str) -> None:
    """One reason for each, and no other."""
    (said,) = refused(chosen)

    assert said.startswith(why)


def test_every_wrong_is_told_at_once() -> None:
    """Nobody is sent back twice."""
    assert len(refused({"privateNetworking": True, "speechUsesKey": True, **tokens()})) == 3
