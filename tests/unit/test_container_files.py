"""The definition files of images: as far as they can be checked where no image can be built."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "jobscripts" / "containers"
SOURCE = "/opt/src/hpcdl/"


def section(name: str) -> list[str]:
    """The lines of a section of the Apptainer definition."""
    text = (FOLDER / "hpcdl.def").read_text()
    [found] = re.findall(rf"^%{name}\n((?:[ \t].*\n|\n)*)", text, re.MULTILINE)
    return [line.strip() for line in found.splitlines() if line.strip()]


def copied_by_apptainer() -> dict[str, str]:
    return dict(line.split() for line in section("files"))


def copied_by_oci() -> dict[str, str]:
    found = {}
    for line in (FOLDER / "Containerfile").read_text().splitlines():
        if line.startswith("COPY "):
            *sources, target = line.split()[1:]
            found |= {one: target + one if target.endswith("/") else target for one in sources}
    return found


def arguments() -> tuple[dict[str, str], dict[str, str]]:
    """Name -> default, of both files."""
    ours = dict(line.split("=", 1) for line in section("arguments"))
    oci = re.findall(r"^ARG (\w+)=(.*)$", (FOLDER / "Containerfile").read_text(), re.MULTILINE)
    return ours, dict(oci)


def test_both_copy_the_same_and_all_of_it_is_there() -> None:
    assert copied_by_apptainer() == copied_by_oci()
    for source, target in copied_by_apptainer().items():
        assert (ROOT / source).exists()
        assert target == SOURCE + source


def test_what_the_package_is_built_from_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    copied = copied_by_apptainer()
    assert {path.partition("/")[0] for path in included} | {"hpcdl", "pyproject.toml"} <= set(copied)


def test_both_take_the_same_arguments_and_use_each() -> None:
    ours, oci = arguments()
    assert ours == oci
    for name in ours:
        assert f"{{{{ {name} }}}}" in (FOLDER / "hpcdl.def").read_text()
        assert f"${{{name}}}" in (FOLDER / "Containerfile").read_text()


def test_both_install_by_the_same_script_which_builds_horovod() -> None:
    script = "jobscripts/containers/install"
    assert f"{SOURCE}{script} {{{{ INDEX }}}} {{{{ NCCL }}}}" in section("post")
    assert f"{SOURCE}{script} ${{INDEX}} ${{NCCL}}" in (FOLDER / "Containerfile").read_text()
    assert "tools/install-horovod" in (ROOT / script).read_text()
    assert (ROOT / script).stat().st_mode & 0o111


def test_the_extras_that_are_installed_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [extras] = re.findall(r"'\.\[(.*)\]'", (FOLDER / "install").read_text())
    assert {"worker", "mpi"} <= set(extras.split(",")) <= set(project["optional-dependencies"])


def test_cuda_of_the_base_and_of_torch_are_one() -> None:
    ours, _ = arguments()
    base = re.search(r"cuda:(\d+)\.(\d+)", ours["BASE"])
    assert base is not None
    assert ours["INDEX"] == f"cu{base[1]}{base[2]}"


def test_the_scripts_are_clean(tmp_path: Path) -> None:
    post = tmp_path / "post"
    post.write_text("#!/bin/bash\n" + "\n".join(section("post")) + "\n")
    subprocess.run(["bash", "-n", post, FOLDER / "install"], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", FOLDER / "install"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["hpcdl.def", "Containerfile"])
def test_they_say_that_they_were_not_built(name: str) -> None:
    assert "NOT been built" in (FOLDER / name).read_text()
