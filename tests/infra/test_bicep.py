"""The templates hold together, as far as that can be told without the compiler; and the check finds what it is for."""

import shutil
from pathlib import Path

import pytest

from local.settings import REPOSITORY
from tests.infra.bicep_check import faults

INFRA = REPOSITORY / "infra"


def test_the_templates_hold_together() -> None:
    """Every file parses, every name leads somewhere."""
    assert len(list(INFRA.rglob("*.bicep"))) > 10
    assert faults(INFRA) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the templates, to spoil them."""
    return Path(shutil.copytree(INFRA, tmp_path / "infra"))


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("main.bicep", "location: location\n  tags", "location: locaton\n  tags", "locaton is not defined"),
        ("main.bicep", "toLower(", "toLowercase(", "toLowercase is not defined"),
        ("main.bicep", "'modules/vault.bicep'", "'modules/safe.bicep'", "modules/safe.bicep does not exist"),
        ("modules/alerts.bicep", "overdue.kql", "overdew.kql", "../queries/overdew.kql does not exist"),
        ("modules/workbook.bicep", "workbook.json", "book.json", "../book.json does not exist"),
        ("main.bicep", "    email: alertEmail", "    mail: alertEmail", "mail is no parameter of alerts.bicep"),
        ("main.bicep", "    email: alertEmail\n", "", "email of alerts.bicep is not given"),
        ("main.bicep", "vault.outputs.secretsUri", "vault.outputs.uri", "vault.bicep has no output uri"),
        ("main.bicep", "speech!.outputs.name", "speech!.outputs.title", "speech.bicep has no output title"),
        ("main.bicep", "module storage 'modules", "module storage = 'modules", "does not parse"),
        ("main.bicep", "param alertEmail string", "param mail string\nparam alertEmail string", "mail is used nowhere"),
        ("main.bicepparam", "param alertEmail =", "param mail =", "mail is no parameter of main.bicep"),
        (
            "main.bicepparam",
            "param location = readEnvironmentVariable('AZURE_LOCATION', '')",
            "",
            "location of main.bicep is not given",
        ),
        (
            "main.bicepparam",
            "param keyVariables = filter(",
            "param keyVariables = filtered(",
            "filtered is not defined",
        ),
        ("main.bicepparam", "param settings = {", "param settings = {{", "does not parse"),
        ("main.bicepparam", "./main.bicep", "./other.bicep", "other.bicep does not exist"),
        (
            "modules/storage.bicep",
            "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
            "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
            "the role 0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3 is written 2 times",
        ),
        (
            "modules/storage.bicep",
            "output name",
            "output key string = account.listKeys().keys[0].value\noutput name",
            "output key lists keys",
        ),
        (
            "modules/vault.bicep",
            "output name",
            "var kept = '${newSigningKey}!'\noutput kept string = kept\noutput name",
            "output kept shows a secret",
        ),
        (
            "modules/vault.bicep",
            "output name",
            "output read string = vault.getSecret('SPEECH-KEY')\noutput name",
            "output read lists keys",
        ),
    ],
)
def test_a_planted_mistake_is_found(copy: Path, file: str, old: str, new: str, fault: str) -> None:
    """One of each kind."""
    path = copy / file
    source = path.read_text()
    assert old in source

    path.write_text(source.replace(old, new, 1))

    found = faults(copy)
    assert found
    assert any(each.endswith(fault) for each in found), found
