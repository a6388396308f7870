"""Checkov has nothing to say about the templates; and it reads all of them, and finds what it is for."""

import os
import shutil
from pathlib import Path

import pytest

from local.settings import REPOSITORY
from tests.infra.checkov_run import UNREAD, Report, Unavailable, check, copy_for_checkov, install, without_skips

INFRA = REPOSITORY / "infra"
#: Its maker's server would say nothing but where to read about a check.
OFFLINE = "--skip-download"

#: A rule that lets everybody in.
SSH_FOR_ALL = """
  properties: {
    securityRules: [
      {
        name: 'ssh'
        properties: {
          access: 'Allow'
          direction: 'Inbound'
          protocol: 'Tcp'
          destinationPortRange: '22'
          sourceAddressPrefix: '*'
        }
      }
    ]
  }
"""

PLANTED = [
    (
        "storage.bicep",
        "  name: container\n",
        "  name: container\n  properties: { publicAccess: 'Blob' }\n",
        "CKV_AZURE_34",
    ),
    ("storage.bicep", "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1_0'", "CKV_AZURE_44"),
    ("storage.bicep", "supportsHttpsTrafficOnly: true", "supportsHttpsTrafficOnly: false", "CKV_AZURE_3"),
    ("app.bicep", "minTlsVersion: '1.2'", "minTlsVersion: '1.0'", "CKV_AZURE_15"),
    ("app.bicep", "httpsOnly: true", "httpsOnly: false", "CKV_AZURE_14"),
    ("vault.bicep", "enablePurgeProtection: true", "enablePurgeProtection: false", "CKV_AZURE_110"),
    ("vault.bicep", "    contentType: 'text/plain'\n", "", "CKV_AZURE_114"),
    ("speech.bicep", "disableLocalAuth: true", "disableLocalAuth: false", "CKV_AZURE_236"),
    ("network.bicep", "  properties: {}\n", SSH_FOR_ALL, "CKV_AZURE_10"),
]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        install()
    except Unavailable as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the templates, as checkov can read them."""
    return copy_for_checkov(INFRA, tmp_path_factory.mktemp("checkov") / "infra")


@pytest.fixture(scope="module")
def report(copy: Path) -> Report:
    """Check them."""
    return check(copy, OFFLINE)


@pytest.fixture(scope="module")
def spoilt(copy: Path) -> Report:
    """Check a folder for each planted mistake, in one run: a folder is called by its number."""
    root = copy.parent / "spoilt"
    for number, (file, old, new, _) in enumerate(PLANTED):
        source = (copy / "modules" / file).read_text()
        assert old in source
        (root / str(number)).mkdir(parents=True)
        (root / str(number) / file).write_text(source.replace(old, new, 1))
    return check(root, OFFLINE)


def test_checkov_reads_every_template_and_objects_to_nothing(report: Report) -> None:
    """A file that it cannot parse counts as a failure, and so does a check that breaks, unless it is skipped."""
    assert set() == report.unparsed
    assert report.broken <= set(report.skipped)
    assert set() == report.objections()


def test_every_skip_has_a_reason(report: Report) -> None:
    """In words, beside the resource; where there is none checkov says so in three."""
    assert report.skipped
    for skipped, reason in report.skipped.items():
        assert len(reason.split()) >= 5, skipped


def test_every_skip_is_needed(copy: Path, report: Report, tmp_path: Path) -> None:
    """Without the skips just what they name fails: what was mended, or is not looked at any more, is to be removed."""
    bare = Path(shutil.copytree(copy, tmp_path / "bare"))
    for path in bare.rglob("*.bicep"):
        path.write_text(without_skips(path.read_text()))

    found = check(bare, OFFLINE)

    assert set(report.skipped) == found.objections() | found.broken


def test_only_what_checkov_cannot_read_is_replaced(tmp_path: Path) -> None:
    """Each expression of the list, with all others replaced: once checkov can read one, it is to be taken off."""
    for number, each in enumerate(UNREAD):
        others = [other for other in UNREAD if other is not each]
        whole = copy_for_checkov(INFRA, tmp_path / "whole" / str(number), unread=others)
        target = tmp_path / "root" / str(number) / each.file
        target.parent.mkdir(parents=True)
        shutil.copyfile(whole / each.file, target)

    found = check(tmp_path / "root", OFFLINE)

    assert {f"{number}/{each.file}" for number, each in enumerate(UNREAD)} == found.unparsed


@pytest.mark.parametrize("number", range(len(PLANTED)), ids=[f"{file}-{name}" for file, _, _, name in PLANTED])
def test_checkov_finds_a_planted_mistake(spoilt: Report, number: int) -> None:
    """By the check that is for it, beside others perhaps; and unspoilt it finds nothing, as said above."""
    file, _, _, name = PLANTED[number]

    assert name in {each.check for each in spoilt.failed.get(f"{number}/{file}", set())}


def test_without_a_package_index_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All these tests fail with that, rather than pass over the templates."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    with pytest.raises(Unavailable, match=r"(?s)^checkov is needed .* is a package index in reach\?"):
        install(tmp_path / "checkov")


def test_the_wanted_version_is_the_locked_one() -> None:
    """With everything that it brings."""
    wanted, locked = ((INFRA / "checkov" / name).read_text() for name in ("requirements.in", "requirements.txt"))

    [version] = [line for line in wanted.splitlines() if line[:1].isalpha()]
    assert f"\n{version} " in locked


def test_checkov_is_not_let_into_the_network(copy: Path) -> None:
    """Left to itself it asks its maker's server: that ends it, so the other tests prove that they need none."""
    with pytest.raises(Unavailable, match="asked for the network"):
        check(copy)
