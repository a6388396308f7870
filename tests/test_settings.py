"""Settings: every problem at once, by name, never with the value."""

import base64
import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.adapters.azure.clients import queue_client, table_client
from bridge.domain.callback_url import DestinationNotAllowed, normalise
from bridge.domain.errors import Misconfigured
from bridge.domain.registration import Sharing
from bridge.settings import Settings, read_settings
from tests.support.harness import ENVIRONMENT, new_signing_key


def problems(**change: str) -> dict[str, str]:
    """Read wrong settings. Returns the problems by name."""
    with pytest.raises(Misconfigured) as caught:
        read_settings({**ENVIRONMENT, **change})
    return caught.value.problems


def test_defaults_match_the_documentation() -> None:
    """Four settings have no default."""
    settings = read_settings(ENVIRONMENT)

    assert settings.poll_interval == timedelta(seconds=15)
    assert settings.polls_per_operation == 12
    assert settings.operation_deadline == timedelta(hours=24)
    assert settings.retention == timedelta(days=30)
    assert settings.sweep_budget == timedelta(seconds=45)
    assert settings.callback_rules.allowed_ports == frozenset({443})
    assert not settings.callback_rules.allow_http
    assert [(each.name, each.path, each.api_version) for each in settings.sources] == [
        ("default", "avatar", "2024-08-01")
    ]


def test_all_missing_settings_are_named_at_once() -> None:
    """One deployment shows all problems."""
    with pytest.raises(Misconfigured) as caught:
        read_settings({})

    assert set(caught.value.problems) == {
        "AzureWebJobsStorage",
        "SPEECH_ENDPOINT",
        "BRIDGE_SIGNING_KEYS",
        "BRIDGE_POLL_SCHEDULE",
    }


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("Hooks.Example.com", "https://hooks.example.com/"),
        ("hooks.example.com.", "https://hooks.example.com/"),
        ("*.example.org", "https://a.b.example.org/"),
        ("münchen.example", "https://xn--mnchen-3ya.example/"),
        ("*.münchen.example", "https://hooks.münchen.example/"),
        ("2606:4700:4700::1111", "https://[2606:4700:4700::1111]/"),
        ("[2606:4700:4700:0::1111]", "https://[2606:4700:4700::1111]/"),
        ("1.1.1.1, hooks.example.com", "https://1.1.1.1/"),
    ],
)
def test_an_allowed_host_is_read_like_the_host_of_a_callback_url(written: str, url: str) -> None:
    """Both have one parser, so each way to write a host allows the same callbacks."""
    rules = read_settings({**ENVIRONMENT, "BRIDGE_CALLBACK_ALLOWED_HOSTS": written}).callback_rules

    assert normalise(url, rules)
    with pytest.raises(DestinationNotAllowed):
        normalise("https://elsewhere.example.net/", rules)


def test_storage_must_be_named() -> None:
    """The settings are a connection string or an account."""
    assert list(problems(AzureWebJobsStorage="")) == ["AzureWebJobsStorage"]
    settings = read_settings({**ENVIRONMENT, "AzureWebJobsStorage": "", "AzureWebJobsStorage__accountName": "acct"})
    assert settings.table_uri == "https://acct.table.core.windows.net"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPEECH_ENDPOINT", "speech.example.com"),
        ("SPEECH_ENDPOINT", "ftp://speech.example.com"),
        ("SPEECH_ENDPOINT", "https://?a=b"),
        ("SPEECH_ENDPOINT", "https://["),
        ("SPEECH_ENDPOINT", "https://user:hunter2@speech.example.com"),
        ("SPEECH_ENDPOINT", "https://speech.example.com:abc"),
        ("SPEECH_ENDPOINT", "https://speech.example.com:0"),
        ("SPEECH_ENDPOINT", "http://speech.example.com"),
        ("SPEECH_ENDPOINT", "http://10.0.0.4:8080"),
        ("SPEECH_ENDPOINT", "https://westeurope.tts.speech.microsoft.com"),
        ("SPEECH_ENDPOINT", "https://n.cognitiveservices.azure.com/sts/v1.0/issuetoken"),
        ("AzureWebJobsStorage__tableServiceUri", "http://account.table.core.windows.net"),
        ("AzureWebJobsStorage__queueServiceUri", "http://localhost.example.com"),
        ("AzureWebJobsStorage", "AccountName=a;AccountKey=!!!"),
        ("AzureWebJobsStorage", "@Microsoft.KeyVault(SecretUri=https://v/s)"),
        ("AzureWebJobsStorage__tableServiceUri", "account"),
        ("AzureWebJobsStorage__queueServiceUri", "ftp://account"),
        ("SPEECH_KEY", "0123456789abcdef\u200b"),
        ("SPEECH_KEY", "0123456789 abcdef"),
        ("SPEECH_KEY", "0123456789\nabcdef"),
        ("BRIDGE_POLL_SCHEDULE", "0 0 * * *"),
        ("SPEECH_PATH", "../x"),
        ("SPEECH_KEY", "@Microsoft.KeyVault(SecretUri=https://v/s)"),
        ("BRIDGE_SIGNING_KEYS", "not base64!"),
        ("BRIDGE_SIGNING_KEYS", "c2hvcnQ="),
        pytest.param("BRIDGE_SIGNING_KEYS", f"{new_signing_key()},", id="an empty signing key"),
        ("BRIDGE_SIGNING_KEYS", "@Microsoft.KeyVault(SecretUri=https://v/s)"),
        ("BRIDGE_POLL_INTERVAL", "90"),
        ("BRIDGE_POLL_INTERVAL", "0s"),
        ("BRIDGE_OPERATION_DEADLINE", "one day"),
        ("BRIDGE_OPERATION_DEADLINE", "0h"),
        ("BRIDGE_RETENTION", "-1d"),
        ("BRIDGE_RETENTION", "0d"),
        ("BRIDGE_SWEEP_BUDGET", "1h"),
        ("BRIDGE_SWEEP_BUDGET", "0s"),
        ("BRIDGE_SWEEP_THREADS", "0"),
        ("BRIDGE_SWEEP_THREADS", "many"),
        ("BRIDGE_AUTH", "anonymous"),
        ("BRIDGE_AUTH", "Entra"),
        ("BRIDGE_AUTH_AUTHORITY", "http://login.example.com"),
        ("BRIDGE_AUTH_AUTHORITY", "login.example.com"),
        ("BRIDGE_SHARED_OPERATIONS", "perhaps"),
        ("BRIDGE_CALLBACK_ALLOW_HTTP", "perhaps"),
        ("BRIDGE_CALLBACK_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("BRIDGE_CALLBACK_ALLOWED_NETWORKS", "inner"),
        ("BRIDGE_CALLBACK_REFUSED_NETWORKS", "10.0.0.1/8"),
        ("BRIDGE_CALLBACK_REFUSED_NETWORKS", "inner"),
        ("BRIDGE_CALLBACK_ALLOWED_HOSTS", "https://hooks.example.com"),
        ("BRIDGE_CALLBACK_ALLOWED_HOSTS", "hooks.example.com:443"),
        ("BRIDGE_CALLBACK_ALLOWED_HOSTS", "*.*.example.com"),
        ("BRIDGE_CALLBACK_ALLOWED_HOSTS", "hooks.example.com,10.1"),
        ("BRIDGE_CALLBACK_ALLOWED_PORTS", "0"),
        ("BRIDGE_CALLBACK_ALLOWED_PORTS", "443,70000"),
        ("BRIDGE_CALLBACK_ALLOWED_PORTS", "https"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """The value never appears."""
    found = problems(**{name: value})

    assert list(found) == [name]
    assert value not in found[name]


def test_white_space_around_a_key_is_dropped() -> None:
    """Pasted keys often have spaces."""
    settings = read_settings({**ENVIRONMENT, "SPEECH_KEY": " 0123456789abcdef\n"})

    assert settings.speech_key is not None
    assert settings.speech_key.get_secret_value() == "0123456789abcdef"


def test_the_error_of_a_missing_signing_key_has_the_command() -> None:
    """The message has the command."""
    assert "python -c" in problems(BRIDGE_SIGNING_KEYS="")["BRIDGE_SIGNING_KEYS"]


def test_several_keys_are_read_newest_first() -> None:
    """The order is that of the setting."""
    newest, older = new_signing_key(), ENVIRONMENT["BRIDGE_SIGNING_KEYS"]

    settings = read_settings({**ENVIRONMENT, "BRIDGE_SIGNING_KEYS": f"{newest}, {older}"})

    assert settings.keyring.keys == (base64.b64decode(newest), base64.b64decode(older))


@pytest.mark.parametrize("weak", [b"test key of 32 bytes, no secret!", b"changeme" * 4, bytes(32)])
def test_a_weak_signing_key_is_rejected_without_showing_it(weak: bytes) -> None:
    text = base64.b64encode(weak).decode()

    with pytest.raises(Misconfigured) as refused:
        read_settings({**ENVIRONMENT, "BRIDGE_SIGNING_KEYS": f"{new_signing_key()},{text}"})

    assert "can be guessed; make one with" in refused.value.problems["BRIDGE_SIGNING_KEYS"]
    assert text not in str(refused.value)


def test_an_unresolved_reference_to_the_vault_is_reported() -> None:
    """The unresolved reference arrives as plain text."""
    assert "Key Vault" in problems(SPEECH_KEY="@Microsoft.KeyVault(x)")["SPEECH_KEY"]


def test_settings_do_not_print_secrets() -> None:
    """Covers connection strings and keys."""
    text = repr(read_settings({**ENVIRONMENT, "AzureWebJobsStorage": "AccountKey=hunter22"}))

    assert "hunter2" not in text
    assert "speech-key" not in text
    assert "no secret!" not in text


BY_TOKEN = {
    "BRIDGE_AUTH": "entra",
    "BRIDGE_AUTH_TENANT": "0F0E0D0C-1111-2222-3333-444444444444",
    "BRIDGE_AUTH_AUDIENCE": "api://bridge",
}


@pytest.mark.parametrize(
    ("environment", "sharing"),
    [
        ({}, Sharing()),
        ({"BRIDGE_SHARED_OPERATIONS": "false"}, Sharing()),
        (BY_TOKEN, Sharing(by_owners=False, places_of_owner=10)),
        ({**BY_TOKEN, "BRIDGE_SHARED_OPERATIONS": ""}, Sharing(by_owners=False, places_of_owner=10)),
        ({**BY_TOKEN, "BRIDGE_SHARED_OPERATIONS": "false"}, Sharing(by_owners=False, places_of_owner=10)),
        ({**BY_TOKEN, "BRIDGE_SHARED_OPERATIONS": "true"}, Sharing(by_owners=True, places_of_owner=10)),
    ],
)
def test_owners_share_operations_by_a_setting_or_if_there_is_one_owner(
    environment: dict[str, str], sharing: Sharing
) -> None:
    assert read_settings({**ENVIRONMENT, **environment}).sharing == sharing


def test_the_tenant_id_is_normalised() -> None:
    """The id is converted to lower case, like in tokens."""
    tenant = read_settings({**ENVIRONMENT, **BY_TOKEN}).tenant

    assert tenant is not None
    assert tenant.issuer == "https://login.microsoftonline.com/0f0e0d0c-1111-2222-3333-444444444444/v2.0"
    assert read_settings(ENVIRONMENT).tenant is None


@pytest.mark.parametrize("name", ["BRIDGE_AUTH_TENANT", "BRIDGE_AUTH_AUDIENCE"])
def test_tokens_need_a_tenant_and_an_audience(name: str) -> None:
    """Without tokens, both are rejected, since an operator would believe that owners are separate."""
    assert list(problems(**{**BY_TOKEN, name: ""})) == [name]
    assert list(problems(**{name: BY_TOKEN[name]})) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRIDGE_AUTH_TENANT", "common"),
        ("BRIDGE_AUTH_TENANT", "contoso.onmicrosoft.com"),
        ("BRIDGE_AUTH_AUDIENCE", "api://bridge api://other"),
    ],
)
def test_a_wrong_setting_about_tokens_is_named(name: str, value: str) -> None:
    """The name of another tenant would admit its users, and `common` would admit all."""
    found = problems(**{**BY_TOKEN, name: value})

    assert list(found) == [name]
    assert value not in found[name]


def test_settings_without_a_tenant_never_mean_function_keys() -> None:
    """The check does not depend on earlier ones."""
    alone = Settings.model_validate({**ENVIRONMENT, "BRIDGE_AUTH": "entra"})

    with pytest.raises(Misconfigured):
        _ = alone.tenant


names = st.sampled_from(
    [
        "AzureWebJobsStorage",
        "SPEECH_ENDPOINT",
        "SPEECH_KEY",
        "SPEECH_PATH",
        "BRIDGE_SIGNING_KEYS",
        "BRIDGE_AUTH",
        "BRIDGE_AUTH_TENANT",
        "BRIDGE_AUTH_AUDIENCE",
        "BRIDGE_AUTH_AUTHORITY",
        "BRIDGE_RETENTION",
        "BRIDGE_SWEEP_THREADS",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS",
        "BRIDGE_CALLBACK_REFUSED_NETWORKS",
        "BRIDGE_CALLBACK_ALLOWED_PORTS",
    ]
)


@given(st.dictionaries(names, st.text()))
def test_any_environment_is_read_or_rejected(environment: dict[str, str]) -> None:
    """The function raises no other error, and a rejection names the setting."""
    with contextlib.suppress(Misconfigured):
        read_settings({**ENVIRONMENT, **environment})


@pytest.mark.parametrize("host", ["127.0.0.1:7073", "127.9.9.9", "localhost:7073", "[::1]:7073"])
def test_http_stays_on_this_machine(host: str) -> None:
    """A key over http: can be intercepted."""
    settings = read_settings(
        {**ENVIRONMENT, "SPEECH_ENDPOINT": f"http://{host}", "AzureWebJobsStorage__tableServiceUri": f"http://{host}"}
    )

    assert (settings.speech_endpoint, settings.table_uri) == (f"http://{host}", f"http://{host}")


@pytest.mark.parametrize(
    "text", ["UseDevelopmentStorage=true", "UseDevelopmentStorage=true;", " UseDevelopmentStorage=true; "]
)
def test_a_connection_string_may_end_in_a_semicolon(text: str) -> None:
    """.NET writes the semicolon, but Azure's libraries for Python would reject the string."""
    settings = read_settings({**ENVIRONMENT, "AzureWebJobsStorage": text})

    table, queue = table_client(settings, None), queue_client(settings, None, "a-queue")
    assert (table.account_name, queue.account_name) == ("devstoreaccount1", "devstoreaccount1")
