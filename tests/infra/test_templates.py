"""The templates agree with the code, README.md and the local start."""

import json
import re

import pytest

from bridge.adapters.azure.clients import TABLE
from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.domain.errors import Misconfigured
from bridge.settings import Settings, read_settings
from infra.hooks.after_provision import SECRETS
from infra.hooks.before_provision import SIGNING_KEYS
from local.settings import Settings as LocalSettings
from local.settings import app_environment
from tests.infra.bicep import DEPLOYMENTS, INFRA, bicep, snapshot
from tests.support.harness import SIGNING_KEY

README = (INFRA / "README.md").read_text()

#: Settings of the function host, not of the app.
OF_THE_HOST = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsDisableHomepage",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    "PYTHON_THREADPOOL_THREAD_COUNT",
}

#: Settings that Flex Consumption rejects or configures elsewhere.
REFUSED = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_RUN_FROM_PACKAGE",
}

#: The variables of main.bicepparam.
READ = set(re.findall(r"readEnvironmentVariable\('(\w+)'", (INFRA / "main.bicepparam").read_text()))

#: The app settings of the default deployment. Values in brackets are known only to Azure.
DEFAULT = snapshot("default").app_settings
CODE = {field.alias for field in Settings.model_fields.values() if field.alias}


def test_the_templates_set_every_setting_of_the_code() -> None:
    """The exception is the connection string, which is for storage with keys."""
    assert DEFAULT.keys() - OF_THE_HOST == CODE - {"AzureWebJobsStorage"}
    assert DEFAULT.keys() >= OF_THE_HOST


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_no_setting_is_rejected_by_flex_consumption(deployment: str) -> None:
    """Otherwise the deployment would fail, or the app would not start."""
    assert not snapshot(deployment).app_settings.keys() & REFUSED


def test_the_local_start_sets_only_settings_of_the_code() -> None:
    """The local start also sets every setting without a default."""
    local = set(app_environment(LocalSettings.read({"LOCAL_DIR": "/nowhere"}), {"BRIDGE_SIGNING_KEYS": SIGNING_KEY}))
    required = {field.alias for field in Settings.model_fields.values() if field.is_required() and field.alias}

    assert local - CODE == {"FUNCTIONS_WORKER_RUNTIME", "PYTHON_THREADPOOL_THREAD_COUNT"}
    assert required | {"AzureWebJobsStorage"} <= local


def test_an_azd_variable_has_the_name_of_its_setting() -> None:
    """`azd env set BRIDGE_RETENTION 7d` is sufficient."""
    chosen = {name for name in DEFAULT if name in READ}
    environ = {name: f"value of {name}" for name in chosen}

    done = bicep("build-params", INFRA / "main.bicepparam", "--stdout", environ={**environ, "SPEECH_ENDPOINT": ""})

    built = json.loads(json.loads(done.stdout)["parametersJson"])["parameters"]["settings"]["value"]
    assert built == {name: f"value of {name}" for name in chosen - {"SPEECH_ENDPOINT"}}


def test_every_parameter_is_in_the_readme_and_no_other() -> None:
    """These are the variables of azd, in addition to the app's settings."""
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", README.split("## What can be chosen")[1], re.MULTILINE))
    of_azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "NEW_SIGNING_KEY"}

    assert documented == READ - (DEFAULT.keys() - {"SPEECH_ENDPOINT"}) - of_azd


def default_settings(**other: str) -> dict[str, str]:
    """Return the app settings of the default deployment, with the names that Azure would fill in."""
    known = {
        "AzureWebJobsStorage__accountName": "stbridge",
        "AzureWebJobsStorage__clientId": "00000000-0000-0000-0000-000000000000",
        "AzureWebJobsStorage__tableServiceUri": "https://stbridge.table.core.windows.net/",
        "AzureWebJobsStorage__queueServiceUri": "https://stbridge.queue.core.windows.net/",
        "SPEECH_ENDPOINT": "https://speech-bridge.cognitiveservices.azure.com",
        "SPEECH_OTHER_ENDPOINTS": "https://westeurope.api.cognitive.microsoft.com",
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
    }
    plain = {name: value for name, value in DEFAULT.items() if not value.startswith("[")}
    assert {*plain, *known} >= CODE - {"AzureWebJobsStorage"}
    return {**plain, **known, **other}


def test_the_app_accepts_the_settings_of_the_templates() -> None:
    """In the default deployment, an empty value counts as absent."""
    settings = read_settings(default_settings())

    assert settings.storage_connection is None
    assert settings.poll_schedule == "*/10 * * * * *"
    assert settings == read_settings({name: value for name, value in default_settings().items() if value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SPEECH_ENDPOINT", "https://westeurope.api.cognitive.microsoft.com/", "Entra"),
        ("BRIDGE_SIGNING_KEYS", "@Microsoft.KeyVault(SecretUri=https://kv/secrets/BRIDGE-SIGNING-KEYS)", "Key Vault"),
        ("SPEECH_KEY", "@Microsoft.KeyVault(SecretUri=https://kv/secrets/SPEECH-KEY)", "Key Vault"),
    ],
)
def test_an_unresolved_value_of_azure_is_misconfigured(name: str, value: str, words: str) -> None:
    """Examples: a resource without a custom subdomain, an unresolved reference."""
    with pytest.raises(Misconfigured) as caught:
        read_settings(default_settings(**{name: value}))

    assert any(words in problem for problem in caught.value.problems.values())


def test_names_agree_with_the_code() -> None:
    """Covered: table, queue, secrets, threads."""
    evaluated = snapshot("default")
    local = app_environment(LocalSettings.read({"LOCAL_DIR": "/nowhere"}), {"BRIDGE_SIGNING_KEYS": SIGNING_KEY})
    account = "Microsoft.Storage/storageAccounts"

    assert evaluated.one(f"{account}/tableServices/tables")["name"].endswith(f"/{TABLE}")
    assert evaluated.one(f"{account}/queueServices/queues")["name"].endswith(f"/{DELIVERIES_QUEUE}")
    assert evaluated.one("Microsoft.KeyVault/vaults/secrets", f"/{SIGNING_KEYS}")
    assert DEFAULT["PYTHON_THREADPOOL_THREAD_COUNT"] == local["PYTHON_THREADPOOL_THREAD_COUNT"]


#: A Key Vault reference with a vault that only Azure knows.
REFERENCE = re.compile(
    r"\[format\('@Microsoft\.KeyVault\(SecretUri=\{0\}(.+)\)', reference\(.+\)\.vaultUri(?:, '(.+)')?\)\]"
)


def references(deployment: str) -> dict[str, str]:
    """Return the Key Vault references by setting: the last part of the secret's address."""
    found = ((name, REFERENCE.fullmatch(value)) for name, value in snapshot(deployment).app_settings.items())
    return {name: match[1].replace("{1}", match[2] or "") for name, match in found if match}


def test_keys_are_read_from_the_newest_version_of_their_secrets() -> None:
    """A reference without a slash at its end may keep an old version."""
    assert references("default") == {"BRIDGE_SIGNING_KEYS": f"secrets/{SIGNING_KEYS}/"}
    assert references("endpoint-with-key") == {
        "BRIDGE_SIGNING_KEYS": f"secrets/{SIGNING_KEYS}/",
        "SPEECH_KEY": "secrets/SPEECH-KEY/",
        "VOICES_KEY": "secrets/VOICES-KEY/",
        "Other_Key2": "secrets/Other-Key2/",
    }


def test_the_regional_host_of_a_speech_resource_is_another_endpoint_of_the_source() -> None:
    """Speech uses this host in `Operation-Location`, and clients forward the URL."""
    created, named, given = (
        snapshot(each).app_settings["SPEECH_OTHER_ENDPOINTS"]
        for each in ("default", "named-speech", "endpoint-with-key")
    )

    assert "api.cognitive.microsoft.com" in created
    assert "api.cognitive.microsoft.com" in named
    assert "Speech-Of-Media', '2024-10-01', 'full').location" in named
    assert given == "https://speech.example.com"


def test_the_host_limits_bodies_like_the_app() -> None:
    """The host's default limit is 100 MB."""
    assert DEFAULT["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] == str(1024 * 1024)


def test_the_root_has_no_default_page_of_azure() -> None:
    """Azure's default page would reveal a Functions app to every visitor."""
    assert DEFAULT["AzureWebJobsDisableHomepage"] == "true"


def test_secrets_are_read_from_the_environment_that_the_hooks_clean() -> None:
    """Covers every secure parameter."""
    done = bicep("build", INFRA / "main.bicep", "--stdout")
    secure = {
        name for name, each in json.loads(done.stdout)["parameters"].items() if each["type"].lower() == "securestring"
    }
    environ = {name: f"value of {name}" for name in SECRETS}
    built = bicep("build-params", INFRA / "main.bicepparam", "--stdout", environ=environ)
    parameters = json.loads(json.loads(built.stdout)["parametersJson"])["parameters"]

    assert {parameters[name]["value"] for name in secure} == set(environ.values())
