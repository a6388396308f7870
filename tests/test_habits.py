"""The files that a project is expected to have: they say the same as the code, and lead to what exists."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from bridge import __version__
from local.settings import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text()
ENTRIES = re.findall(r"^## \[(.+?)\](?: - (\S+))?\n\n(.*?)(?=^## |\Z)", CHANGELOG, re.MULTILINE | re.DOTALL)

RECORDS = sorted((REPOSITORY / "docs" / "decisions").glob("[0-9]*.md"))
FORMS = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TEXTS = [
    *(REPOSITORY / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(REPOSITORY / "docs" / "decisions").glob("*.md"),
]


def test_changelog_has_an_entry_for_the_version() -> None:
    """The newest one that is released; changes that are not are above it."""
    names = [name for name, _, _ in ENTRIES]

    assert names[:2] == ["Unreleased", __version__]
    assert names[1:] == sorted(names[1:], key=lambda name: [int(part) for part in name.split(".")], reverse=True)


@pytest.mark.parametrize(("name", "date", "text"), ENTRIES, ids=[name for name, _, _ in ENTRIES])
def test_entry_of_the_changelog_says_whether_azure_has_to_be_provisioned(name: str, date: str, text: str) -> None:
    assert re.match(r"Needs `azd provision`: (yes|no)\.", text)
    assert (name == "Unreleased") or re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def test_licence_is_that_of_the_wheel() -> None:
    assert (REPOSITORY / "LICENSE").read_text().startswith("MIT License\n")
    assert (PROJECT["project"]["license"], PROJECT["project"]["license-files"]) == ("MIT", ["LICENSE"])


def test_editors_and_the_formatter_break_lines_alike() -> None:
    python = (REPOSITORY / ".editorconfig").read_text().split("[*.py]\n")[1]

    assert python.splitlines()[0] == f"max_line_length = {PROJECT['tool']['ruff']['line-length']}"


def test_hooks_of_commits_run_the_tools_of_the_checks() -> None:
    """At the locked versions: each runs in `.venv`, and `make check` runs the same module."""
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    modules = {each["id"]: each["entry"].split()[:3] for each in hooks}
    check = (REPOSITORY / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]

    assert set(modules) == {"ruff-format", "ruff-check", "mypy", "codespell"}
    assert {tuple(each[:2]) for each in modules.values()} == {(".venv/bin/python", "-m")}
    assert [each[2] for each in modules.values() if f"python -m {each[2]}" not in check] == []


@pytest.mark.parametrize("path", FORMS, ids=lambda path: str(path.stem))
def test_form_of_issues_can_be_read(path: Path) -> None:
    """GitHub shows no form that lacks one of these fields, and does not say so."""
    form = yaml.safe_load(path.read_text())

    if path.stem == "config":
        assert {"name", "url", "about"} == set(form["contact_links"][0])
    else:
        assert {"name", "description", "body"} <= set(form)
        fields = [each for each in form["body"] if each["type"] != "markdown"]
        assert all(each["attributes"]["label"] for each in fields)
        assert len({each["id"] for each in fields}) == len(fields)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: str(path.stem))
def test_decision_record_is_dated_and_names_what_was_rejected(path: Path) -> None:
    text = path.read_text()
    number = path.stem.partition("-")[0]

    assert re.match(rf"# {number}: .+\n\nDate: \d{{4}}-\d\d-\d\d\. Status: (accepted|replaced by \d{{4}})\.\n", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Rejected alternatives",
        "Consequences",
    ]
    rejected = text.partition("## Rejected alternatives\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^- \*\*", rejected, re.MULTILINE)) >= 2


def test_index_lists_every_decision_record() -> None:
    """With its number, its title and its date, in order."""
    index = (REPOSITORY / "docs" / "decisions" / "README.md").read_text()
    lines = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+?) \| accepted \| (\S+) \|$", index, re.MULTILINE)
    titles = [re.match(r"# (\d{4}): (.+)\n\nDate: (\S+)\. ", path.read_text()) for path in RECORDS]

    assert [(number, title, date) for number, _, title, date in lines] == [each.groups() for each in titles if each]
    assert [name for _, name, _, _ in lines] == [path.name for path in RECORDS]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_link_or_path_in_these_texts_leads_to_what_exists(path: Path) -> None:
    text = path.read_text()
    links = [each.partition("#")[0] for each in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in each]
    named = re.findall(r"`((?:bridge|local|tests|infra|docs|bench)/[\w/.-]+)`", text)

    assert [each for each in links if not (path.parent / each).exists()] == []
    assert [each for each in named if not (REPOSITORY / each).exists()] == []


def test_contributing_names_every_target_that_checks_something() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*?## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text))

    assert named <= targets
    assert {"start", "demo", "test", "check", "cover", "prove", "bench", "mutate", "lock"} <= named
