"""Values of azd's variables: the hook accepts right values, and rejects each wrong one with the permitted values."""

import json

import pytest

from infra.hooks.choices import CHECKED, problems
from tests.infra.bicep import INFRA, bicep, snapshot
from tests.infra.test_templates import READ

OTHERS = "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/g/providers"
SPEECH = f"{OTHERS}/Microsoft.CognitiveServices/accounts/speech"

#: Values that a template or Azure rejects late or misunderstands.
WRONG = {
    "AZURE_ENV_NAME": ["ends.", "a b", "ü", "x" * 41, "a/b", "."],
    "AZURE_LOCATION": ["west-europe", "1", "westeurope,eastus", " "],
    "INSTANCE_MEMORY_MB": ["1024", "0512", "512.0", "abc", "512 ", "٥١٢"],
    "MAXIMUM_INSTANCES": ["0", "1001", "-1", "10.5", "x", "1e2", " ", "9" * 5000],
    "ALWAYS_READY_HTTP": ["-1", "1001", "one"],
    "ALWAYS_READY_DELIVER": ["-1", "1001", "one"],
    "HTTP_PER_INSTANCE": ["0", "2000", "x"],
    "PRIVATE_NETWORKING": ["yes", "1", "on", "true ", "falsch"],
    "SPEECH_USES_KEY": ["yes", "1", "no"],
    "NETWORK_RANGE": [
        "10.60.0.5/24",
        "168.63.129.0/24",
        "10.0.0.0/6",
        "10.60.0.0/28",
        "10.60.0.0/25",
        "10.60.0.0",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "224.0.0.0/8",
        "0.0.0.0/0",
        "8.8.8.0/24",
        "172.16.0.0/8",
        "fd00::/48",
        "10.60.0.0/24,10.61.0.0/24",
        "x",
    ],
    "API_ALLOWED_RANGES": ["10.0.0.5/24", "10.0.0.5", "a", "10.0.0.0/24,", "10.0.0.0/24,10.0.0.0/24", "10.0.0.0/33"],
    "ALERT_EMAIL": ["a@x,b@y", "a@example.com;b@example.com", "operators", "a@b", "A <a@example.com>", "@example.com"],
    "ALERT_ACTION_GROUP_ID": ["on-call", SPEECH, f"{OTHERS}/Microsoft.Insights/actionGroups/"],
    "RUNBOOK_URL": ["http://example.com", "infra/README.md", "https://example.com/#x"],
    "ALERT_DEAD_DELIVERIES": ["0", "-1", "1.5", "100001", "many", "٣"],
    "LOG_DAILY_CAP_GB": ["0", "0.05", "-2", "1,5", "x", "1e3", "inf", "nan"],
    "SPEECH_RESOURCE_ID": [
        "mine",
        "https://speech.cognitiveservices.azure.com",
        f"{OTHERS}/Microsoft.Storage/storageAccounts/speech",
        f"{SPEECH}/more",
        f"{SPEECH} ",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/speech",
    ],
    "SPEECH_ENDPOINT": ["http://example.com", "example.com", "https://", "https://u:p@example.com", "https://x/?q=1"],
    "SPEECH_OTHER_ENDPOINTS": ["http://example.com", "https://a.example.com,", "a"],
    "NEW_SPEECH_KEY": ["two words", "kéy", "line\nline"],
    "KEY_VARIABLES": [
        "VOICES KEY",
        "VOICES-KEY",
        "A_KEY,a_key",
        "A_KEY,,B_KEY",
        "1KEY",
        "SPEECH_KEY",
        "BRIDGE_SOURCES",
        "AzureWebJobsStorage__clientId",
        "x" * 128,
    ],
    "BRIDGE_AUTH": ["Entra", "none", "keys"],
}

RIGHT = {
    "AZURE_ENV_NAME": ["a", "Team_1.dev-(x)", "x" * 40],
    "AZURE_LOCATION": ["westeurope", "West Europe", "eastus2"],
    "INSTANCE_MEMORY_MB": ["512", "2048", "4096"],
    "MAXIMUM_INSTANCES": ["1", "40", "1000"],
    "ALWAYS_READY_HTTP": ["0", "40"],
    "ALWAYS_READY_DELIVER": ["0", "1"],
    "HTTP_PER_INSTANCE": ["1", "1000"],
    "PRIVATE_NETWORKING": ["true", "false", "True"],
    "SPEECH_USES_KEY": ["true", "False"],
    "NETWORK_RANGE": ["10.60.0.0/24", "10.0.0.0/8", "172.16.0.0/12", "192.168.4.0/22"],
    "API_ALLOWED_RANGES": ["198.51.100.0/24", "203.0.113.7/32, 2001:db8::/32"],
    "ALERT_EMAIL": ["operators@example.com", "o'neil+alerts@mail.example.co.uk"],
    "ALERT_ACTION_GROUP_ID": [f"{OTHERS}/microsoft.insights/actiongroups/on call".replace(" ", "-")],
    "RUNBOOK_URL": ["https://github.com/team/bridge/blob/main/infra/README.md"],
    "ALERT_DEAD_DELIVERIES": ["1", "20", "100000"],
    "LOG_DAILY_CAP_GB": ["1", "0.1", "0.5", "-1", "100"],
    "SPEECH_RESOURCE_ID": [SPEECH, SPEECH.lower()],
    "SPEECH_ENDPOINT": ["https://westeurope.api.cognitive.microsoft.com", "https://gateway.example.com:8443/speech/"],
    "SPEECH_OTHER_ENDPOINTS": ["https://a.example.com", "https://a.example.com, https://b.example.com"],
    "KEY_VARIABLES": ["VOICES_KEY", "A_KEY, B_KEY", "_x", "SPEECH_VOICES_KEY"],
    "BRIDGE_AUTH": ["key", "entra"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_the_right_ones(name: str, value: str) -> None:
    found = problems({name: value, **({"SPEECH_USES_KEY": "true"} if name == "NEW_SPEECH_KEY" else {})})

    assert len(found) == 1
    assert found[0].startswith(f"{name} can be ")


def test_a_key_is_not_shown() -> None:
    assert "hunter2" not in problems({"NEW_SPEECH_KEY": "hunter2 and more", "SPEECH_USES_KEY": "true"})[0]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_a_right_value_passes(name: str, value: str) -> None:
    assert problems({name: value}) == []


@pytest.mark.parametrize("name", sorted(CHECKED))
def test_an_empty_value_counts_as_absent(name: str) -> None:
    assert problems({name: ""}) == []


@pytest.mark.parametrize("uses_key", ["", "false"])
def test_a_key_in_addition_to_the_identity_is_rejected(uses_key: str) -> None:
    """Only the hook can reject this, since a template cannot read a secret before the deployment."""
    [problem] = problems({"NEW_SPEECH_KEY": "key", "SPEECH_USES_KEY": uses_key})

    assert problem.startswith("NEW_SPEECH_KEY is given, but SPEECH_USES_KEY is not true")


def test_every_variable_of_the_templates_is_checked() -> None:
    """Exceptions: the key that the hook creates, and settings that only the app reads."""
    of_the_app = snapshot("default").app_settings.keys() - {"SPEECH_ENDPOINT", "SPEECH_OTHER_ENDPOINTS", "BRIDGE_AUTH"}

    assert READ - of_the_app - {"NEW_SIGNING_KEY"} == CHECKED
    assert WRONG.keys() == CHECKED
    assert RIGHT.keys() == CHECKED - {"NEW_SPEECH_KEY"}


def test_the_compiler_accepts_the_values_that_the_hook_accepts() -> None:
    """Two compilations cover the first and the last permitted value of each variable."""
    for pick in (0, -1):
        environ = {name: values[pick] for name, values in RIGHT.items()}

        done = bicep("build-params", INFRA / "main.bicepparam", "--stdout", environ=environ)

        assert done.stderr == ""
        parameters = json.loads(json.loads(done.stdout)["parametersJson"])["parameters"]
        assert parameters["environmentName"]["value"] == environ["AZURE_ENV_NAME"]
        assert parameters["keyVariables"]["value"]


def test_a_variable_of_a_key_replaces_no_setting() -> None:
    """These are settings of the app or of the host."""
    for name in snapshot("endpoint-with-key").app_settings.keys() - {"VOICES_KEY", "Other_Key2"}:
        assert problems({"KEY_VARIABLES": name}), name
