"""State directories of older layouts."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.errors import LocalError
from local.layout import LAYOUT, demand_layout
from tests.local.started import Started


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a state directory with Azurite's files but no layout file. The name needs quotes."""
    folder = tmp_path / "my state"
    (folder / "azurite").mkdir(parents=True)
    (folder / "azurite" / "__azurite_db_table__.json").write_text("{}")
    (folder / "signing-key").write_text("key")
    return folder


def test_a_new_directory_gets_the_layout_of_this_version(tmp_path: Path) -> None:
    """The next start accepts the directory, with Azurite's files."""
    folder = tmp_path / "new"

    demand_layout(folder)
    (folder / "azurite").mkdir()
    (folder / "azurite" / "__azurite_db_table__.json").write_text("{}")

    demand_layout(folder)
    assert (folder / "layout").read_text().strip() == LAYOUT


@pytest.mark.parametrize("noted", [None, "1", "3", ""])
def test_state_of_another_layout_is_rejected_with_the_command_that_removes_it(old: Path, noted: str | None) -> None:
    """The command keeps the signing key, and the next start succeeds."""
    if noted is not None:
        (old / "layout").write_text(noted)

    with pytest.raises(LocalError) as refused:
        demand_layout(old)

    command = str(refused.value).split("`")[1]
    assert shlex.split(command) == ["rm", "-r", str(old / "azurite")]
    subprocess.run(shlex.split(command), check=True)
    demand_layout(old)
    assert (old / "signing-key").read_text() == "key"


def test_an_empty_folder_of_azurite_is_no_state(old: Path) -> None:
    """An interrupted start can leave such a folder."""
    (old / "azurite" / "__azurite_db_table__.json").unlink()

    demand_layout(old)

    assert (old / "layout").read_text().strip() == LAYOUT


def test_make_start_prints_the_command_for_older_state(begin: Callable[..., Started], old: Path) -> None:
    """One line, and exit code 1 before any part starts."""
    start = begin(LOCAL_DIR=str(old))

    start.until("has state of another layout, which this version cannot read: run `rm -r ")
    assert start.ended_with() == 1
