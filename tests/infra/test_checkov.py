"""Checkov's only objections to the evaluated deployments are accepted ones, each with a reason."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import DEPLOYMENTS, INFRA, snapshot
from tests.infra.checkov_run import Objection, Report, Unavailable, check, install, write_template

#: Without this option, checkov requests links to its guidelines from a server.
OFFLINE = "--skip-download"

ACCOUNT, VAULT, SPEECH, SITE, CONFIG = (
    "Microsoft.Storage/storageAccounts",
    "Microsoft.KeyVault/vaults",
    "Microsoft.CognitiveServices/accounts",
    "Microsoft.Web/sites",
    "Microsoft.Web/sites/config",
)
SECRETS = f"{VAULT}/secrets"

_OTHER_CONFIGURATION = "these are the variables of the app, and not the configuration that this check reads"

#: The objections that are accepted in every deployment with the resource, with the reason.
ACCEPTED = {
    Objection(SPEECH, "CKV_AZURE_134"): "the app calls it over its public endpoint, which takes tokens only",
    Objection(SPEECH, "CKV_AZURE_238"): "it calls no other service, and needs no identity",
    Objection(SECRETS, "CKV_AZURE_41"): "a key that expires unnoticed ends all callbacks or all polls",
    Objection(
        ACCOUNT, "CKV_AZURE_206"
    ): "its rows are of use for 30 days: choose another sku if their loss is too much",
    Objection("Microsoft.Web/serverfarms", "CKV_AZURE_225"): "the storage account is in one zone as well",
    Objection(SITE, "CKV_AZURE_17"): "callers have keys or tokens",
    Objection(
        SITE, "CKV_AZURE_212"
    ): "it scales to zero by design: ALWAYS_READY_HTTP and ALWAYS_READY_DELIVER keep it warm",
    Objection(SITE, "CKV_AZURE_213"): "with no instance there is nothing to probe, and alerts watch the sweeps instead",
    Objection(
        SITE, "CKV_AZURE_222"
    ): "callers are outside: keys or tokens guard it, and API_ALLOWED_RANGES restricts it",
    **{Objection(CONFIG, f"CKV_AZURE_{number}"): _OTHER_CONFIGURATION for number in (13, 63, 65, 66, 80, 88, 222)},
}

#: The objections that are accepted without private networking.
ACCEPTED_IN_PUBLIC = {
    Objection(
        ACCOUNT, "CKV_AZURE_35"
    ): "without a network the app has no address of its own, and tokens guard the data",
    Objection(
        ACCOUNT, "CKV_AZURE_59"
    ): "without a network the app has no address of its own, and tokens guard the data",
    Objection(
        VAULT, "CKV_AZURE_109"
    ): "without a network the app has no address of its own, and tokens guard the secrets",
    Objection(
        VAULT, "CKV_AZURE_189"
    ): "without a network the app has no address of its own, and tokens guard the secrets",
}

SSH_FOR_ALL = {
    "name": "ssh",
    "properties": {
        "access": "Allow",
        "direction": "Inbound",
        "protocol": "Tcp",
        "destinationPortRange": "22",
        "sourceAddressPrefix": "*",
    },
}

#: Planted mistakes: resource type, path of the value, wrong value, and the check that must fail.
PLANTED: list[tuple[str, tuple[str, ...], Any, str]] = [
    (f"{ACCOUNT}/blobServices/containers", ("properties", "publicAccess"), "Blob", "CKV_AZURE_34"),
    (ACCOUNT, ("properties", "minimumTlsVersion"), "TLS1_0", "CKV_AZURE_44"),
    (ACCOUNT, ("properties", "supportsHttpsTrafficOnly"), False, "CKV_AZURE_3"),
    (ACCOUNT, ("properties", "networkAcls", "defaultAction"), "Allow", "CKV_AZURE_35"),
    (ACCOUNT, ("properties", "publicNetworkAccess"), "Enabled", "CKV_AZURE_59"),
    (SITE, ("properties", "siteConfig", "minTlsVersion"), "1.0", "CKV_AZURE_15"),
    (SITE, ("properties", "siteConfig", "ftpsState"), "AllAllowed", "CKV_AZURE_78"),
    (SITE, ("properties", "httpsOnly"), False, "CKV_AZURE_14"),
    (VAULT, ("properties", "enablePurgeProtection"), False, "CKV_AZURE_110"),
    (VAULT, ("properties", "publicNetworkAccess"), "Enabled", "CKV_AZURE_189"),
    (SECRETS, ("properties", "contentType"), None, "CKV_AZURE_114"),
    (SPEECH, ("properties", "disableLocalAuth"), False, "CKV_AZURE_236"),
    ("Microsoft.Network/networkSecurityGroups", ("properties", "securityRules"), [SSH_FOR_ALL], "CKV_AZURE_10"),
]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        install()
    except Unavailable as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Check every deployment."""
    folder = tmp_path_factory.mktemp("checkov")
    for deployment in DEPLOYMENTS:
        write_template(folder, deployment, snapshot(deployment).resources)
    return check(folder, OFFLINE)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Check one template per planted mistake, in one run. The template's name is the number of the mistake."""
    folder = tmp_path_factory.mktemp("spoilt")
    for number, (kind, way, value, _) in enumerate(PLANTED):
        resources = [copy.deepcopy(each) for each in snapshot("private-network").resources if each["type"] == kind]
        assert resources
        for each in resources:
            _plant(each, way, value)
        write_template(folder, str(number), resources)
    return check(folder, OFFLINE)


def _plant(resource: dict[str, Any], way: tuple[str, ...], value: object) -> None:
    place = resource
    for key in way[:-1]:
        place = place.setdefault(key, {})
    if value is None:
        del place[way[-1]]
    else:
        place[way[-1]] = value


def test_checkov_reads_every_deployment(report: Report) -> None:
    """The run covers the resources of each deployment."""
    assert report.unparsed == set()
    assert report.resources > 20 * len(DEPLOYMENTS)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_checkov_reports_exactly_the_accepted_objections(report: Report, deployment: str) -> None:
    """The reverse holds too: every accepted objection still occurs. Obsolete ones must be removed."""
    kinds = {each["type"] for each in snapshot(deployment).resources}
    accepted = ACCEPTED | (ACCEPTED_IN_PUBLIC if deployment != "private-network" else {})

    assert sorted(report.failed[deployment]) == sorted(each for each in accepted if each.kind in kinds)


@pytest.mark.parametrize("number", range(len(PLANTED)), ids=[f"{kind}-{name}" for kind, _, _, name in PLANTED])
def test_checkov_finds_a_planted_mistake(report: Report, spoilt: Report, number: int) -> None:
    """The check does not object to the unchanged deployment."""
    kind, _, _, name = PLANTED[number]

    assert Objection(kind, name) in spoilt.failed[str(number)]
    assert Objection(kind, name) not in report.failed["private-network"]


def test_a_missing_package_index_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests of checkov fail with this message, so the templates are never skipped silently."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    with pytest.raises(Unavailable, match=r"(?s)^checkov is needed .* check the package index, and run make again\."):
        install(tmp_path / "checkov")


def test_the_wanted_version_is_the_locked_one() -> None:
    """The environment contains exactly the locked packages."""
    wanted, locked = ((INFRA / "checkov" / name).read_text() for name in ("requirements.in", "requirements.txt"))

    [version] = [line for line in wanted.splitlines() if line[:1].isalpha()]
    assert f"\n{version} " in locked


def test_checkov_has_no_network(tmp_path: Path) -> None:
    """With its defaults, checkov contacts a server and is ended. So the other tests prove that no network is needed."""
    write_template(tmp_path, "default", snapshot("default").resources)

    with pytest.raises(Unavailable, match="requested the network"):
        check(tmp_path)
