"""HPCDL_REQUIRE: where a part is required, leaving its tests out is a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARKED = """
import pytest

@pytest.mark.horovod
def test_it():
    pytest.skip("no Horovod here")
"""
WHOLE_FILE = "import pytest\npytest.importorskip('horovod_that_nobody_has')\n"
EXPECTED = "import pytest\n@pytest.mark.horovod\n@pytest.mark.xfail\ndef test_it():\n    raise ValueError\n"


def run(directory: Path, text: str, required: str) -> subprocess.CompletedProcess[str]:
    """Run a test file of its own with this project's conftest as a plugin."""
    (directory / "test_it.py").write_text(text)
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = horovod\n")
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:randomly", str(directory)]
    environment = {"PATH": "/usr/bin:/bin", "HPCDL_REQUIRE": required}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_skip_is_a_skip_where_nothing_is_required(tmp_path: Path) -> None:
    done = run(tmp_path, MARKED, "")
    assert (done.returncode, "1 skipped" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize(
    ("text", "reason"), [(MARKED, "no Horovod here"), (WHOLE_FILE, "horovod_that_nobody_has")]
)
def test_a_skip_of_what_is_required_fails_and_says_why(tmp_path: Path, text: str, reason: str) -> None:
    done = run(tmp_path, text, "cluster,horovod")
    assert done.returncode != 0
    assert "HPCDL_REQUIRE wants horovod tests to run" in done.stdout
    assert reason in done.stdout


def test_other_skips_stay_skips(tmp_path: Path) -> None:
    assert run(tmp_path, MARKED, "cluster,dali").returncode == 0


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert run(tmp_path, EXPECTED, "horovod").returncode == 0


def test_an_unknown_requirement_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, MARKED, "horovd")
    assert done.returncode != 0
    assert "HPCDL_REQUIRE: horovd" in done.stderr
