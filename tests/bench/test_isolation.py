"""The files of measurements: a run replaces the measured figures and keeps the rest."""

from pathlib import Path

import pytest

from bench import isolation, results


def test_a_run_replaces_its_groups_and_keeps_the_others() -> None:
    before = {"sweep.old": 1.0, "sweep.kept": 2.0, "isolation.junk.sweeps": 3.0, "host.x": 4.0}

    after = results.merged(before, {"sweep.kept": 5.00049})

    assert after == {"host.x": 4.0, "isolation.junk.sweeps": 3.0, "sweep.kept": 5.0}


def test_a_scenario_replaces_its_own_figures_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results.write({"isolation.clock.seconds": 40.0, "isolation.junk.sweeps": 9.0, "sweep.kept": 2.0}, tmp_path)
    (tmp_path / "RESULTS.md").write_text("# Speed and cost\n\n## Isolation\n\nold\n\n## Schedule\n\nkept\n")
    monkeypatch.setattr(isolation, "run", lambda names: {f"isolation.{name}.sweeps": 2.0 for name in names})

    isolation.main(["junk"], tmp_path)

    assert results.read(tmp_path) == {
        "isolation.clock.seconds": 40.0,
        "isolation.junk.sweeps": 2.0,
        "sweep.kept": 2.0,
    }
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| `isolation.clock.seconds` | 40 | ≤ 60 |" in page
    assert "| `isolation.junk.sweeps` | 2 | ≤ 3 |" in page
    assert "old" not in page
    assert page.endswith("## Schedule\n\nkept\n")


def test_a_missed_goal_is_marked_and_the_calm_run_stands_beside() -> None:
    page = isolation.section({"isolation.junk.sweeps": 41.0, "isolation.junk.sweeps.calm": 1.0})

    assert "| `isolation.junk.sweeps` | 41 | ≤ 3 | 1 | **missed** |" in page
    assert "`isolation.junk.sweeps.calm`" not in page


def test_a_section_is_added_once() -> None:
    page = results.with_section("# Page\n\ntext\n", "Isolation", "first")

    page = results.with_section(page, "Isolation", "second")

    assert page == "# Page\n\ntext\n\n## Isolation\n\nsecond\n"


def test_an_unknown_scenario_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no scenario nonsense"):
        isolation.main(["nonsense"], tmp_path)
