"""Impossible combinations of variables are rejected before any resource is created, each with a reason."""

from pathlib import Path

import pytest

from tests.infra.bicep import Snapshot, evaluate

GROUP = "/subscriptions/aaaaaaaa-0000-0000-0000-000000000000/resourceGroups/g"
SPEECH = f"{GROUP}/providers/Microsoft.CognitiveServices/accounts/speech"
REGIONAL = "https://westeurope.api.cognitive.microsoft.com"
ENVIRON = {"AZURE_ENV_NAME": "e", "AZURE_LOCATION": "westeurope"}


@pytest.mark.parametrize(
    "chosen",
    [
        {"SPEECH_RESOURCE_ID": SPEECH, "SPEECH_USES_KEY": "true", "NEW_SPEECH_KEY": "key"},
        {"AZURE_LOCATION": "francecentral", "SPEECH_RESOURCE_ID": SPEECH},
        {"AZURE_LOCATION": "francecentral", "SPEECH_PATH": "texttospeech"},
        {"AZURE_LOCATION": "West Europe", "SPEECH_PATH": "avatar"},
        {"ALWAYS_READY_HTTP": "40", "ALWAYS_READY_DELIVER": "40"},
    ],
    ids=" ".join,
)
def test_a_possible_combination_is_accepted(chosen: dict[str, str], tmp_path: Path) -> None:
    """These combinations have no snapshot."""
    evaluated = evaluate({**ENVIRON, **chosen}, tmp_path)

    assert isinstance(evaluated, Snapshot), evaluated
    assert set(evaluated.of_type("Microsoft.Resources/resourceGroups")) == {"rg-e"}


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"PRIVATE_NETWORKING": "true"}, "PRIVATE_NETWORKING needs NETWORK_RANGE"),
        ({"NETWORK_RANGE": "10.60.0.0/24"}, "NETWORK_RANGE is given, but PRIVATE_NETWORKING is not true"),
        (
            {"SPEECH_RESOURCE_ID": SPEECH, "SPEECH_ENDPOINT": REGIONAL, "SPEECH_USES_KEY": "true"},
            "give SPEECH_RESOURCE_ID or SPEECH_ENDPOINT, not both",
        ),
        ({"SPEECH_ENDPOINT": REGIONAL}, "SPEECH_ENDPOINT needs SPEECH_USES_KEY"),
        ({"SPEECH_USES_KEY": "true"}, "SPEECH_USES_KEY needs SPEECH_RESOURCE_ID or SPEECH_ENDPOINT"),
        ({"SPEECH_RESOURCE_ID": "mine"}, "SPEECH_RESOURCE_ID is not the id of a Speech resource"),
        ({"SPEECH_RESOURCE_ID": SPEECH + "/more"}, "SPEECH_RESOURCE_ID is not the id of a Speech resource"),
        ({"AZURE_LOCATION": "France Central"}, "AZURE_LOCATION is a region without batch avatar synthesis"),
        ({"ALWAYS_READY_HTTP": "50"}, "ALWAYS_READY_HTTP and ALWAYS_READY_DELIVER may be at most MAXIMUM_INSTANCES"),
        ({"ALWAYS_READY_DELIVER": "2", "MAXIMUM_INSTANCES": "1"}, "may be at most MAXIMUM_INSTANCES"),
        ({"BRIDGE_AUTH": "entra"}, "BRIDGE_AUTH=entra needs BRIDGE_AUTH_TENANT and BRIDGE_AUTH_AUDIENCE"),
        ({"BRIDGE_AUTH": "entra", "BRIDGE_AUTH_TENANT": "tenant"}, "BRIDGE_AUTH=entra needs"),
        ({"BRIDGE_AUTH": "entra", "BRIDGE_AUTH_AUDIENCE": "client"}, "BRIDGE_AUTH=entra needs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_impossible_combination_is_rejected_with_a_reason(
    chosen: dict[str, str], reason: str, tmp_path: Path
) -> None:
    """The reason is the only one."""
    refused = evaluate({**ENVIRON, **chosen}, tmp_path)

    assert isinstance(refused, str)
    assert reason in refused
    assert "; " not in refused


def test_all_reasons_are_given_at_once(tmp_path: Path) -> None:
    """A second try then meets no further reason."""
    refused = evaluate(
        {**ENVIRON, "PRIVATE_NETWORKING": "true", "SPEECH_USES_KEY": "true", "BRIDGE_AUTH": "entra"}, tmp_path
    )

    assert isinstance(refused, str)
    assert refused.count("; ") == 2


@pytest.mark.parametrize(
    ("name", "value", "parameter"),
    [
        ("INSTANCE_MEMORY_MB", "1024", "instanceMemoryMB"),
        ("MAXIMUM_INSTANCES", "0", "maximumInstanceCount"),
        ("HTTP_PER_INSTANCE", "2000", "httpPerInstanceConcurrency"),
    ],
)
def test_a_number_out_of_range_is_rejected_even_without_the_hook(
    name: str, value: str, parameter: str, tmp_path: Path
) -> None:
    """`az deployment` runs no hook."""
    refused = evaluate({**ENVIRON, name: value}, tmp_path)

    assert isinstance(refused, str)
    assert parameter in refused


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"AZURE_LOCATION": "westeurope"}, {"AZURE_LOCATION": "West Europe"}),
        ({"AZURE_ENV_NAME": "team"}, {"AZURE_ENV_NAME": "Team"}),
        (
            {"ALWAYS_READY_HTTP": "0"},
            {"ALWAYS_READY_HTTP": "", "PRIVATE_NETWORKING": "", "BRIDGE_POLL_SCHEDULE": "", "INSTANCE_MEMORY_MB": ""},
        ),
    ],
    ids=["region", "name", "empty values"],
)
def test_two_spellings_of_one_choice_are_one_deployment(
    one: dict[str, str], other: dict[str, str], tmp_path: Path
) -> None:
    """A different app name would mean a second set of resources."""
    first, second = (evaluate({**ENVIRON, **each}, tmp_path) for each in (one, other))

    assert isinstance(first, Snapshot), first
    assert isinstance(second, Snapshot), second
    assert first.one("Microsoft.Web/sites")["name"] == second.one("Microsoft.Web/sites")["name"]
    assert first.app_settings.keys() == second.app_settings.keys()
    assert first.app_settings["BRIDGE_POLL_SCHEDULE"] == second.app_settings["BRIDGE_POLL_SCHEDULE"]


def test_letters_of_a_resource_id_do_not_change_the_role_assignment(tmp_path: Path) -> None:
    """Azure rejects the same role assignment under another name."""
    upper, lower = (
        evaluate({**ENVIRON, "SPEECH_RESOURCE_ID": id_}, tmp_path) for id_ in (SPEECH.upper(), SPEECH.lower())
    )

    assert isinstance(upper, Snapshot), upper
    assert isinstance(lower, Snapshot), lower
    assert _speech_role(upper) == _speech_role(lower)


def _speech_role(evaluated: Snapshot) -> str:
    roles = evaluated.of_type("Microsoft.Authorization/roleAssignments")
    [name] = [name for name in roles if "cognitiveservices" in name.lower()]
    return name
