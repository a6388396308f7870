"""`azure-functions-doctor` checks the deployed files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.settings import REPOSITORY
from tests.infra.azd_package import package_of

_DOCTOR = Path(sys.executable).with_name("azure-functions-doctor")


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """Copy the files that azd deploys."""
    for path in package_of(REPOSITORY):
        target = tmp_path / "app" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, target)
    return tmp_path / "app"


@pytest.mark.skipif(not _DOCTOR.exists(), reason="azure-functions-doctor is not for this Python")
def test_doctor_reports_no_failure(deployed: Path, tmp_path: Path) -> None:
    """All rules run. Warnings concern missing Core Tools and settings outside of files."""
    summary = tmp_path / "summary.json"
    command: list[str | Path] = [_DOCTOR, "doctor", "--path", deployed, "--profile", "full", "--summary-json", summary]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(summary.read_text())
    assert (counts["failed"], counts["passed"] > 0) == (0, True)
