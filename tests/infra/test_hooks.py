"""The hooks against a fake management plane and a fake app, over real sockets."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from werkzeug import Request, Response

from infra.hooks.after_deploy import Deployment, deployment, next_steps
from infra.hooks.after_provision import finish
from infra.hooks.azure import Failed, Management, azd, fetch, run, signed_in
from infra.hooks.before_provision import RUNBOOK, SIGNING_KEYS, VARIABLE, check, link_runbook, prepare
from infra.hooks.functions import routes_in, triggers_in
from infra.hooks.rotate_signing_key import Rotation, Vault
from local.settings import REPOSITORY
from local.web import WebServer

GROUP = "/subscriptions/s/resourceGroups/rg-e"
VAULTS = f"{GROUP}/providers/Microsoft.KeyVault/vaults"
VAULT = f"{VAULTS}/kv"
KEPT = f"{VAULT}/secrets/{SIGNING_KEYS}"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/func"
PROVIDER = "/subscriptions/s/providers/Microsoft.App"
OTHERS = "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/g/providers"
SPEECH = f"{OTHERS}/Microsoft.CognitiveServices/accounts/speech"
ACTION_GROUP = f"{OTHERS}/Microsoft.Insights/actionGroups/on-call"
ENVIRON = {"AZURE_SUBSCRIPTION_ID": "s", "AZURE_ENV_NAME": "e"}


@dataclass
class FakeAzure:
    """Scripted answers of Azure and the app. Unknown paths return 404."""

    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def script(self, path: str, *answers: tuple[int, Any]) -> None:
        """Script the answers for a path. The last answer repeats."""
        self.answers[path] = list(answers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return the scripted answer and record the request."""
        request = Request(environ)
        key = request.headers.get("x-functions-key") or request.headers.get("Authorization")
        self.requests.append((request.method, request.path, key))
        if request.method == "PUT":
            self.bodies.append(json.loads(request.get_data()))
        script = self.answers.get(request.path, [(404, {"error": {"code": "NotFound"}})])
        status, body = script.pop(0) if len(script) > 1 else script[0]
        return Response(json.dumps(body), status, mimetype="application/json")(environ, start_response)


@pytest.fixture
def fake() -> FakeAzure:
    """Return an empty subscription."""
    return FakeAzure()


@pytest.fixture
def url(fake: FakeAzure) -> Iterator[str]:
    """Serve the fake on a socket."""
    server = WebServer(fake)
    yield server.url
    assert server.stop(10)


@pytest.fixture
def azure(url: str) -> Management:
    """Return a signed-in client."""
    return Management("token", url)


def prepared(azure: Management, **more: str) -> dict[str, str]:
    """Run the hook before provisioning. Returns the variables that the hook set in azd."""
    told: dict[str, str] = {}
    prepare({**ENVIRON, **more}, azure, told.__setitem__)
    return told


def test_the_first_provisioning_creates_a_key(azure: Management, fake: FakeAzure) -> None:
    """The resource group does not exist yet."""
    told = prepared(azure)

    assert len(base64.b64decode(told[VARIABLE], validate=True)) == 32
    assert fake.requests == [("GET", VAULTS, "Bearer token")]


def test_a_vault_without_the_secret_gets_one(azure: Management, fake: FakeAzure) -> None:
    """An earlier provisioning was interrupted."""
    fake.script(VAULTS, (200, {"value": [{"id": VAULT}]}))
    fake.script(f"{VAULT}/secrets/SPEECH-KEY", (200, {"name": "SPEECH-KEY"}))

    assert prepared(azure)[VARIABLE]


def test_a_key_is_found_by_its_name_in_the_vault_of_any_page(azure: Management, fake: FakeAzure) -> None:
    """A missed key on a later page would be replaced."""
    following = f"{azure.endpoint}{VAULTS}/more"
    fake.script(VAULTS, (200, {"value": [{"id": f"{VAULTS}/other"}], "nextLink": following}))
    fake.script(f"{VAULTS}/more", (200, {"value": [{"id": VAULT}]}))
    fake.script(KEPT, (200, {"name": SIGNING_KEYS}))

    assert prepared(azure) == {VARIABLE: ""}


def test_the_token_is_sent_to_azure_only(azure: Management, fake: FakeAzure) -> None:
    """The hook follows no link to another host."""
    fake.script(VAULTS, (200, {"value": [], "nextLink": "http://127.0.0.1:1/steal"}))

    assert azure.list(VAULTS, "v") == []


def test_an_existing_key_is_kept(azure: Management) -> None:
    """The key stays until the vault has one."""
    assert prepared(azure, **{VARIABLE: "made before"}) == {}


def test_a_key_in_the_vault_is_never_replaced(azure: Management, fake: FakeAzure) -> None:
    """A leftover key in azd's environment does not replace the key of the vault."""
    fake.script(VAULTS, (200, {"value": [{"id": VAULT}]}))
    fake.script(KEPT, (200, {"name": SIGNING_KEYS}))

    assert prepared(azure, **{VARIABLE: "left behind"}) == {VARIABLE: ""}


@pytest.mark.parametrize("path", [VAULTS, KEPT])
def test_a_403_of_azure_creates_no_key(azure: Management, fake: FakeAzure, path: str) -> None:
    """A new key after a 403 would change the secret of every receiver."""
    fake.script(VAULTS, (200, {"value": [{"id": VAULT}]}))
    fake.script(path, (403, {"error": {"code": "AuthorizationFailed"}}))

    with pytest.raises(Failed, match="Azure answered 403"):
        prepared(azure)


def test_a_missing_answer_creates_no_key() -> None:
    with pytest.raises(Failed, match="Azure answered nothing"):
        prepare(ENVIRON, Management("token", "http://127.0.0.1:1"), lambda _name, _value: None)


@pytest.fixture
def ready(fake: FakeAzure) -> None:
    """Script a subscription that is ready for a deployment."""
    fake.script(PROVIDER, (200, {"registrationState": "Registered"}))
    fake.script(SPEECH, (200, {"kind": "SpeechServices"}))
    fake.script(ACTION_GROUP, (200, {"id": ACTION_GROUP}))


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    "chosen",
    [{}, {"SPEECH_RESOURCE_ID": SPEECH, "ALERT_ACTION_GROUP_ID": ACTION_GROUP}, {"INSTANCE_MEMORY_MB": ""}],
    ids=["nothing", "resources", "an empty value"],
)
def test_right_choices_pass(azure: Management, chosen: dict[str, str]) -> None:
    """The hook prints nothing."""
    check({**ENVIRON, **chosen}, azure)


@pytest.mark.usefixtures("ready")
def test_every_wrong_choice_is_named_at_once(azure: Management, fake: FakeAzure) -> None:
    """Values, resources and the subscription are checked. Malformed ids are not looked up."""
    fake.script(PROVIDER, (200, {"registrationState": "NotRegistered"}))
    fake.script(SPEECH, (200, {"kind": "OpenAI"}))
    chosen = {"SPEECH_RESOURCE_ID": SPEECH, "ALERT_ACTION_GROUP_ID": "mine", "INSTANCE_MEMORY_MB": "1024"}

    with pytest.raises(Failed) as caught:
        check({**ENVIRON, **chosen}, azure)

    first, *reasons = str(caught.value).splitlines()
    assert first == "nothing was created."
    assert [reason.split()[1] for reason in reasons] == [
        "INSTANCE_MEMORY_MB",
        "ALERT_ACTION_GROUP_ID",
        "SPEECH_RESOURCE_ID",
        "the",
    ]
    assert "az provider register --namespace Microsoft.App" in reasons[-1]
    assert [path for _, path, _ in fake.requests] == [SPEECH, PROVIDER]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("name", "path"), [("SPEECH_RESOURCE_ID", SPEECH), ("ALERT_ACTION_GROUP_ID", ACTION_GROUP)])
def test_a_resource_that_does_not_exist_is_named(azure: Management, fake: FakeAzure, name: str, path: str) -> None:
    """Otherwise the deployment would fail midway."""
    fake.script(path, (404, None))

    with pytest.raises(Failed, match=f"{name} names .* does not exist"):
        check({**ENVIRON, name: path}, azure)


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://github.com/team/bridge.git\n", "https://github.com/team/bridge/blob/HEAD/infra/README.md"),
        ("git@github.com:team/bridge.git", "https://github.com/team/bridge/blob/HEAD/infra/README.md"),
        ("https://user:secret@github.com/team/bridge", "https://github.com/team/bridge/blob/HEAD/infra/README.md"),
        ("https://dev.azure.com/team/bridge/_git/bridge", None),
        ("", None),
    ],
)
def test_alerts_link_to_the_runbook_of_the_checkout(remote: str, expected: str | None) -> None:
    """The link requires a known repository address."""
    told: dict[str, str] = {}

    link_runbook({}, remote, told.__setitem__)

    assert told.get(RUNBOOK) == expected


def test_a_chosen_runbook_stays() -> None:
    """The chosen address can be another branch or another place."""
    told: dict[str, str] = {}

    link_runbook({RUNBOOK: "https://wiki.example.com"}, "git@github.com:team/bridge.git", told.__setitem__)

    assert told == {}


def deployed(azure: Management) -> Deployment:
    """Deploy an app with two functions."""
    return Deployment(site=SITE, url=azure.endpoint, functions=frozenset({"sweep", "deliver"}), azure=azure)


def listing(*names: str) -> tuple[int, Any]:
    """Return Azure's answer with a list of functions."""
    return 200, {"value": [{"name": f"func/{name}"} for name in names]}


def test_a_deployment_is_followed_to_the_end(azure: Management, fake: FakeAzure) -> None:
    """The sync comes first, then the functions one by one, then health."""
    pauses: list[float] = []
    fake.script(f"{SITE}/syncfunctiontriggers", (204, None))
    fake.script(f"{SITE}/functions", listing(), listing("sweep"), listing("sweep", "deliver"))
    fake.script("/api/health", (502, None), (200, {"status": "ok"}))

    deployed(azure).see_through(pauses.append)

    assert fake.requests[0][:2] == ("POST", f"{SITE}/syncfunctiontriggers")
    assert pauses == [10.0] * 3


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        (f"{SITE}/functions", listing("deliver"), "Azure does not list sweep"),
        ("/api/health", (404, None), "/api/health answers 404"),
        ("/api/health", (503, {"status": "misconfigured"}), "the app is misconfigured: .*SPEECH_ENDPOINT"),
    ],
)
def test_a_failed_deployment_reports_the_reason(
    azure: Management, fake: FakeAzure, path: str, answer: tuple[int, Any], reason: str
) -> None:
    """The hook gives up after ten minutes."""
    pauses: list[float] = []
    fake.script(f"{SITE}/syncfunctiontriggers", (204, None))
    fake.script(f"{SITE}/functions", listing("sweep", "deliver"))
    fake.script("/api/health", (200, {"status": "ok"}))
    fake.script(f"{SITE}/host/default/listkeys", (200, {"functionKeys": {"default": "a key"}}))
    fake.script("/api/status", (503, {"error": {"code": "Misconfigured", "details": [{"target": "SPEECH_ENDPOINT"}]}}))
    fake.script(path, answer)

    with pytest.raises(Failed, match=reason):
        deployed(azure).see_through(pauses.append)

    assert sum(pauses) == 600


def test_a_key_is_requested_only_to_read_the_reasons(azure: Management, fake: FakeAzure) -> None:
    """The key is sent to the app alone."""
    fake.script(f"{SITE}/functions", listing("sweep", "deliver"))
    fake.script("/api/health", (503, {"status": "misconfigured"}))
    fake.script(f"{SITE}/host/default/listkeys", (200, {"functionKeys": {"default": "a key"}}))

    deployed(azure).what_is_wrong()

    assert [path for _, path, key in fake.requests if key == "a key"] == ["/api/status"]
    assert [path for _, path, key in fake.requests if key is None] == ["/api/health"]


def test_a_permanently_rejected_sync_fails_the_deployment(azure: Management, fake: FakeAzure) -> None:
    """The hook gives up after ten minutes and prints Azure's message."""
    pauses: list[float] = []
    fake.script(f"{SITE}/syncfunctiontriggers", (400, {"error": {"message": "Encountered an error"}}))

    with pytest.raises(Failed, match="Encountered an error"):
        deployed(azure).see_through(pauses.append)

    assert sum(pauses) == 600


def test_errors_of_a_starting_app_are_retried(azure: Management, fake: FakeAzure) -> None:
    """Right after a deployment, the sync, the list and the health check each fail in a different way."""
    pauses: list[float] = []
    fake.script(f"{SITE}/syncfunctiontriggers", (400, {}), (503, {}), (204, None))
    fake.script(f"{SITE}/functions", (500, {}), (404, {}), listing("sweep", "deliver"))
    fake.script("/api/health", (403, None), (200, {"status": "ok"}))

    deployed(azure).see_through(pauses.append)

    assert [path for _, path, _ in fake.requests].count(f"{SITE}/syncfunctiontriggers") == 3
    assert len(pauses) == 5


def test_key_vault_references_are_fetched_again_while_the_app_is_misconfigured(
    azure: Management, fake: FakeAzure
) -> None:
    """Azure caches a failed reference for a day. A refresh restarts instances, so the hook waits a minute."""
    fake.script(f"{SITE}/syncfunctiontriggers", (204, None))
    fake.script(f"{SITE}/functions", listing("sweep", "deliver"))
    fake.script(f"{SITE}/host/default/listkeys", (200, {"functionKeys": {"default": "a key"}}))
    fake.script(f"{SITE}/config/configreferences/appsettings/refresh", (200, None))
    fake.script("/api/health", *[(503, {"status": "misconfigured"})] * 8, (200, {"status": "ok"}))

    deployed(azure).see_through(lambda _: None)

    paths = [path for _, path, _ in fake.requests]
    assert paths.count(f"{SITE}/config/configreferences/appsettings/refresh") == 2


def test_an_address_outside_of_the_allowed_ranges_is_reported(azure: Management, fake: FakeAzure) -> None:
    """The platform's 403 has no message."""
    fake.script(f"{SITE}/functions", listing("sweep", "deliver"))
    fake.script("/api/health", (403, None))

    assert "API_ALLOWED_RANGES" in (deployed(azure).what_is_wrong() or "")


DEPLOYED = {
    "SERVICE_BRIDGE_URL": "https://func.azurewebsites.net",
    "SERVICE_BRIDGE_NAME": "func",
    "AZURE_RESOURCE_GROUP": "rg-e",
}


def test_a_deployment_ends_with_lines_to_copy() -> None:
    """The output has the page, the command for a key, and two lines for the command line."""
    key = "az functionapp keys list -g 'rg-e' -n 'func' --query functionKeys.default -o tsv"

    assert next_steps(DEPLOYED).splitlines() == [
        "The page: https://func.azurewebsites.net/api/dashboard",
        "A key for the page and for clients:",
        f"  {key}",
        "The command line, `speech-webhooks status` for instance:",
        "  export BRIDGE_URL=https://func.azurewebsites.net",
        f'  export BRIDGE_KEY="$({key})"',
    ]


def test_with_tokens_the_output_has_no_key() -> None:
    """With tokens, keys are not accepted."""
    steps = next_steps({**DEPLOYED, "BRIDGE_AUTH": "entra", "BRIDGE_AUTH_AUDIENCE": "client"})

    assert "--scope 'api://client/.default'" in steps
    assert 'export BRIDGE_TOKEN="$(az account get-access-token' in steps
    assert "BRIDGE_KEY" not in steps


def test_a_fixed_address_is_printed() -> None:
    """Receivers may have to allow the address."""
    steps = next_steps({**DEPLOYED, "BRIDGE_OUTBOUND_ADDRESS": "203.0.113.7"})

    assert steps.endswith("Callbacks come from 203.0.113.7")


SECRET_PATH = f"/secrets/{SIGNING_KEYS}"
REFRESH = f"{SITE}/config/configreferences/appsettings/refresh"


@pytest.fixture
def rotation(azure: Management, fake: FakeAzure) -> Rotation:
    """Return the rotation for an app with one key in the vault."""
    fake.script(SECRET_PATH, (200, {"value": "old"}))
    fake.script(REFRESH, (200, None))
    return Rotation(vault=Vault(azure.endpoint, "of the vault"), azure=azure, site=SITE, url=azure.endpoint)


def test_a_rotation_begins_with_a_new_key_before_the_old_one(rotation: Rotation, fake: FakeAzure) -> None:
    """The command ends only when the app has both keys."""
    pauses: list[float] = []
    fake.script(SECRET_PATH, (200, {"value": "old"}), (200, {}), (200, {"value": "new, old"}))
    fake.script("/api/signing-keys", (503, None), (200, {"value": ["old"]}), (200, {"value": ["new", "old"]}))

    rotation.begin(pauses.append)

    new, _, old = fake.bodies[0]["value"].partition(",")
    assert len(base64.b64decode(new, validate=True)) == 32
    assert old == "old"
    assert len(pauses) == 2
    methods = [(method, path) for method, path, _ in fake.requests]
    assert methods.index(("PUT", SECRET_PATH)) < methods.index(("POST", REFRESH))


def test_a_rotation_ends_with_the_new_key_alone(rotation: Rotation, fake: FakeAzure) -> None:
    """The remaining key is the newest."""
    fake.script(SECRET_PATH, (200, {"value": "new,old"}), (200, {}), (200, {"value": "new"}))
    fake.script("/api/signing-keys", (200, {"value": ["new"]}))

    rotation.finish(lambda _: None)

    assert [body["value"] for body in fake.bodies] == ["new"]


def test_a_second_rotation_does_not_begin_in_the_middle_of_the_first(rotation: Rotation, fake: FakeAzure) -> None:
    """Receivers that know only the first secret would lose their key at the next end."""
    fake.script(SECRET_PATH, (200, {"value": "new,old"}))

    with pytest.raises(Failed, match="has begun before"):
        rotation.begin(lambda _: None)

    assert fake.bodies == []


def test_the_only_key_is_not_removed(rotation: Rotation, fake: FakeAzure) -> None:
    """This is the end of a rotation that never began."""
    with pytest.raises(Failed, match="no rotation has begun"):
        rotation.finish(lambda _: None)

    assert fake.bodies == []


def test_a_rotation_without_the_right_role_names_the_role(rotation: Rotation, fake: FakeAzure) -> None:
    """The message contains the vault's error, and no key."""
    fake.script(SECRET_PATH, (403, {"error": {"message": "Caller is not authorized"}}))

    with pytest.raises(Failed, match=r"403 \(Caller is not authorized\).*Key Vault Secrets Officer"):
        rotation.begin(lambda _: None)


def test_an_app_that_keeps_the_old_keys_is_reported(rotation: Rotation, fake: FakeAzure) -> None:
    """The hook gives up after five minutes and prints the command for another check."""
    pauses: list[float] = []
    fake.script("/api/signing-keys", (200, {"value": []}))

    with pytest.raises(Failed, match="--refresh"):
        rotation.refresh(pauses.append)

    assert sum(pauses) == 300


def test_a_truncated_answer_counts_as_no_answer() -> None:
    """A truncated answer is handled like a missing one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=_break_off, args=(server,))
        thread.start()

        answer = fetch("GET", f"http://127.0.0.1:{port}/", {})

        thread.join()
    assert answer.status == 0


def _break_off(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def test_missing_variables_of_azd_are_named(azure: Management) -> None:
    """The message helps if a person runs a hook by hand."""
    with pytest.raises(Failed, match="SERVICE_BRIDGE_ID is not set"):
        deployment({}, azure)


def test_the_deployed_app_has_to_have_every_function(azure: Management) -> None:
    """Timer and queue are included."""
    found = deployment({"SERVICE_BRIDGE_ID": SITE, "SERVICE_BRIDGE_URL": azure.endpoint}, azure)

    assert {"sweep", "deliver", "health", "register"} <= found.functions


def test_synchronous_and_asynchronous_functions_are_found(tmp_path: Path) -> None:
    """`async def` counts as a function. A function without a trigger does not."""
    file = tmp_path / "function_app.py"
    file.write_text("@app.route()\ndef one(): ...\n\n@app.route()\nasync def two(): ...\n\nasync def helper(): ...\n")

    assert triggers_in(file) == ["one", "two"]


def test_routes_are_named_by_their_handlers(tmp_path: Path) -> None:
    """A method of the handlers and a plain function count alike, in the order of the table."""
    file = tmp_path / "routes.py"
    file.write_text(
        'A = (Route(GET, "a", Handlers.one, TAG), Route(GET, "b", two, TAG))\nB = Route(GET, "c", three, TAG)\n'
    )

    assert routes_in(file) == ["one", "two", "three"]


def test_a_failure_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code stops azd."""

    def fail() -> None:
        raise Failed("it is so")

    assert run(fail) == 1
    assert capsys.readouterr().out == "failed: it is so\n"
    assert run(lambda: None) == 0


def test_stored_secrets_are_removed_from_azds_environment(azure: Management, fake: FakeAzure) -> None:
    """Secrets leave azd's environment once the vault has them."""
    told: dict[str, str] = {}
    fake.script(VAULTS, (200, {"value": [{"id": VAULT}]}))
    fake.script(KEPT, (200, {"name": SIGNING_KEYS}))

    finish(ENVIRON, azure, told.__setitem__)

    assert told == {"NEW_SIGNING_KEY": "", "NEW_SPEECH_KEY": ""}


def test_a_key_that_is_not_in_the_vault_stays_in_azds_environment(azure: Management) -> None:
    """The next run writes the key to the vault."""
    told: dict[str, str] = {}

    with pytest.raises(Failed, match="the vault has no signing key"):
        finish(ENVIRON, azure, told.__setitem__)

    assert told == {}


def put_azd(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fake azd on the path."""
    program = folder / "azd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_token_comes_from_azd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook calls no other tool."""
    put_azd(tmp_path, 'test "$*" = "auth token --output json" && echo \'{"token": "of azd"}\'', monkeypatch)

    assert signed_in() == Management("of azd")


def test_a_secret_is_not_shown_when_azd_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has azd's reason."""
    put_azd(tmp_path, "echo no environment >&2; exit 1", monkeypatch)

    with pytest.raises(Failed, match="azd env set failed: no environment") as caught:
        azd("env", "set", "NEW_SIGNING_KEY", "hunter2")

    assert "hunter2" not in str(caught.value)


def hook(name: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a hook in the same way as azure.yaml."""
    return subprocess.run(
        [sys.executable, "-m", f"infra.hooks.{name}"],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["before_provision", "after_provision", "after_deploy", "rotate_signing_key"])
def test_without_azd_a_hook_fails_with_a_reason(name: str, tmp_path: Path) -> None:
    """The failure stops azd."""
    done = hook(name, str(tmp_path))

    assert done.returncode == 1
    assert done.stdout.startswith("failed: ")
    assert not done.stderr


def test_azure_yaml_runs_existing_hooks() -> None:
    """Applies to Windows and POSIX."""
    text = (REPOSITORY / "azure.yaml").read_text()
    run = [line.partition("run: ")[2].strip(" }") for line in text.splitlines() if "run: " in line]

    assert len(run) == 6
    for command in run:
        _, _, module = command.partition(" -m ")
        assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file()
