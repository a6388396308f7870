"""The templates say what the code, the README and the local start say."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge.adapters.clients import TABLE
from bridge.adapters.queue import DELIVERIES_QUEUE
from bridge.core.errors import Misconfigured
from bridge.settings import Settings, read_settings
from infra.hooks.after_provision import SECRETS
from infra.hooks.before_provision import SECRET
from infra.hooks.functions import names_in
from local.settings import REPOSITORY, app_environment
from local.settings import Settings as LocalSettings
from tests.infra.bicep import GUID, Template, body, properties, text, walk
from tests.support.world import SIGNING_KEY

INFRA = REPOSITORY / "infra"
APP = Template.read(INFRA / "modules" / "app.bicep")
PARAMETERS = Template.read(INFRA / "main.bicepparam")
README = (INFRA / "README.md").read_text()

#: What the function host reads by itself, and the app does not.
OF_THE_HOST = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
    "PYTHON_THREADPOOL_THREAD_COUNT",
}

#: What Flex Consumption refuses, or says elsewhere.
REFUSED = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_RUN_FROM_PACKAGE",
}


def object_in(template: Template, kind: str, name: str) -> Mapping[str, str]:
    """Read the largest object of a declaration as keys and what stands there."""
    nodes = walk(template.of_kind(kind)[name].node)
    largest = max((properties(node) for node in nodes if node.type == "object"), key=len)
    return {key: text(value) for key, value in largest.items()}


TOLD = object_in(APP, "resource", "appSettings")
CHOSEN = object_in(PARAMETERS, "var", "settings")
CODE = {field.alias for field in Settings.model_fields.values() if field.alias}


def test_the_templates_set_what_the_code_reads() -> None:
    """Everything but the connection string, which is for storage with keys."""
    assert {*TOLD, *CHOSEN} - OF_THE_HOST == CODE - {"AzureWebJobsStorage"}
    assert set(TOLD) >= OF_THE_HOST
    assert not set(TOLD) & set(CHOSEN)


def test_nothing_is_set_that_flex_consumption_refuses() -> None:
    """A deployment would fail, or start an app that does not."""
    assert not {name for path in INFRA.rglob("*.bicep*") for name in REFUSED if name in path.read_text()}


def test_the_local_start_sets_only_what_the_code_reads() -> None:
    """And everything that has no default."""
    local = set(app_environment(LocalSettings.read({"LOCAL_DIR": "/nowhere"}), {"BRIDGE_SIGNING_KEYS": SIGNING_KEY}))
    required = {field.alias for field in Settings.model_fields.values() if field.is_required() and field.alias}

    assert local - CODE == {"FUNCTIONS_WORKER_RUNTIME", "PYTHON_THREADPOOL_THREAD_COUNT"}
    assert required | {"AzureWebJobsStorage"} <= local


def test_a_setting_is_chosen_by_its_own_name() -> None:
    """`azd env set BRIDGE_RETENTION 7d` is all there is to it."""
    assert all(f"readEnvironmentVariable('{name}', " in value for name, value in CHOSEN.items())


def test_every_parameter_is_in_the_readme_and_no_other() -> None:
    """What azd can be told beside the app's settings."""
    read = set(re.findall(r"readEnvironmentVariable\('(\w+)'", (INFRA / "main.bicepparam").read_text()))
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", README.split("## What can be chosen")[1], re.MULTILINE))

    assert documented == read - CHOSEN.keys() - {"AZURE_ENV_NAME", "AZURE_LOCATION", "NEW_SIGNING_KEY"}


def told(**other: str) -> dict[str, str]:
    """Say what an app is told where nothing is chosen, with names that Azure would give."""
    defaults = {
        name: found[1]
        for name, value in CHOSEN.items()
        if (found := re.search(r"readEnvironmentVariable\('\w+', '(.*)'\)", value))
    }
    given = {
        "AzureWebJobsStorage__accountName": "stbridge",
        "AzureWebJobsStorage__clientId": "00000000-0000-0000-0000-000000000000",
        "AzureWebJobsStorage__tableServiceUri": "https://stbridge.table.core.windows.net/",
        "AzureWebJobsStorage__queueServiceUri": "https://stbridge.queue.core.windows.net/",
        "SPEECH_ENDPOINT": "https://speech-bridge.cognitiveservices.azure.com/",
        "SPEECH_KEY": "",
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
    }
    assert {*defaults, *given} == CODE - {"AzureWebJobsStorage"}
    return {**defaults, **given, **other}


def test_the_app_takes_what_the_templates_say() -> None:
    """With nothing chosen: an empty value is an absent one."""
    settings = read_settings(told())

    assert settings.storage_connection is None
    assert settings.poll_schedule == "*/10 * * * * *"
    assert settings == read_settings({name: value for name, value in told().items() if value})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SPEECH_ENDPOINT", "https://westeurope.api.cognitive.microsoft.com/", "Entra"),
        ("BRIDGE_SIGNING_KEYS", "@Microsoft.KeyVault(SecretUri=https://kv/secrets/BRIDGE-SIGNING-KEYS)", "Key Vault"),
        ("SPEECH_KEY", "@Microsoft.KeyVault(SecretUri=https://kv/secrets/SPEECH-KEY)", "Key Vault"),
    ],
)
def test_what_only_azure_can_know_is_misconfigured(name: str, value: str, says: str) -> None:
    """A resource without a custom subdomain, a reference that did not resolve."""
    with pytest.raises(Misconfigured) as caught:
        read_settings(told(**{name: value}))

    assert any(says in problem for problem in caught.value.problems.values())


def test_a_wrong_combination_is_refused_before_anything_is_created() -> None:
    """Each has a condition and a reason, and the first resource fails with all the reasons."""
    main = Template.read(INFRA / "main.bicep")
    refusals = [properties(each) for each in walk(main.of_kind("var")["refusals"].node) if each.type == "object"]
    name = text(body(main.of_kind("resource")["group"])["name"])

    assert len(refusals) >= 8
    assert all({"holds", "why"} == set(each) for each in refusals)
    assert text(main.of_kind("var")["refused"].node).endswith("filter(refusals, each => each.holds)")
    assert name.startswith("empty(refused) ?")
    assert name.endswith(": fail(join(map(refused, each => each.why), '; '))")


def test_names_are_those_of_the_code() -> None:
    """Table, queue, the function that is kept warm, secrets, threads."""
    storage = set(Template.read(INFRA / "modules" / "storage.bicep").strings())
    vault = set(Template.read(INFRA / "modules" / "vault.bicep").strings())
    warm = [each.partition(":")[2] for each in APP.strings() if each.startswith("function:")]
    local = app_environment(LocalSettings.read({"LOCAL_DIR": "/nowhere"}), {"BRIDGE_SIGNING_KEYS": SIGNING_KEY})

    assert {TABLE, DELIVERIES_QUEUE} <= storage
    assert set(warm) <= set(names_in(REPOSITORY / "function_app.py"))
    assert SECRET in vault
    assert TOLD["BRIDGE_SIGNING_KEYS"].endswith(f"/{SECRET})'")
    assert "'SPEECH-KEY'" in Path(INFRA / "modules" / "vault.bicep").read_text()
    assert "/SPEECH-KEY)" in TOLD["SPEECH_KEY"]
    assert TOLD["PYTHON_THREADPOOL_THREAD_COUNT"] == f"'{local['PYTHON_THREADPOOL_THREAD_COUNT']}'"


def test_secrets_are_read_from_the_environment_that_the_hooks_clean() -> None:
    """Every secure parameter."""
    main = Template.read(INFRA / "main.bicep")
    secure = {name for name, each in main.of_kind("param").items() if "secure" in each.decorators}
    given = PARAMETERS.of_kind("var")

    read = {re.findall(r"readEnvironmentVariable\('(\w+)'", text(given[name].node))[0] for name in secure}

    assert read == set(SECRETS)


ROLES = {
    "modules/storage.bicep": {
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    },
    "modules/monitoring.bicep": {"3913510d-42f4-4e42-8a64-420c390055eb"},
    "modules/asked-speech.bicep": {"f2dc8367-1007-4938-bd23-fe263f013447"},
    "modules/vault.bicep": {"4633458b-17de-408a-b874-0445c86b69e6"},
}


def test_each_role_is_given_on_one_resource_only() -> None:
    """No role reaches a whole group; these six and no others."""
    found = {}
    for path in INFRA.rglob("*.bicep"):
        template = Template.read(path)
        guids = {each for each in template.strings() if GUID.fullmatch(each)}
        assignments = [each for each in template.of_kind("resource").values() if "roleAssignments@" in text(each.node)]
        if guids or assignments:
            found[path.relative_to(INFRA).as_posix()] = guids
        for each in assignments:
            scope = re.search(r"scope: (\w+)", text(each.node))
            assert scope is not None
            assert scope[1] in template.of_kind("resource")

    assert found == ROLES
