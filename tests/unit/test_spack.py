"""spack.yaml: as far as it can be checked where Spack is not installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

# The newest version of each recipe in spack-packages, July 2026 or earlier; None: not looked up.
RECIPES = {
    "python": None,
    "py-pip": None,
    "py-hatchling": None,
    "py-numpy": None,
    "py-scipy": None,
    "py-pillow": None,
    "py-scikit-learn": None,
    "py-torch": "2.10.0",
    "py-horovod": "0.28.1",
    "py-mpi4py": "4.1.1",
    "py-nvidia-dali": "1.50.0",
    "py-nvidia-ml-py": "13.590.48",
    "py-psutil": "7.1.0",
    "py-typer": "0.20.1",
    "py-rich": "13.9.4",
    "py-pydantic": "2.12.4",
    "py-jinja2": "3.1.6",
    "py-platformdirs": "4.4.0",
}
# Variants that these specs may name, and the values that a variant can have.
VARIANTS = {
    "py-torch": {"cuda", "nccl", "distributed", "gloo", "cuda_arch"},
    "py-horovod": {"frameworks", "controllers", "tensor_ops", "cuda", "cuda_arch"},
}
VALUES = {
    "frameworks": {"tensorflow", "keras", "pytorch", "mxnet", "spark", "ray"},
    "controllers": {"mpi", "gloo"},
    "tensor_ops": {"nccl", "mpi", "gloo", "ccl"},
}
PYPI_NAMES = {"nvidia-dali-cuda130": "py-nvidia-dali"}
# Spack has an older one than is asked for; the file says what to do.
OLDER_IN_SPACK = {"py-nvidia-dali"}
SPEC = re.compile(
    r"^(?P<name>[a-z0-9-]+)(?:@(?P<version>[0-9.:]+))?(?P<variants>(?: (?:[+~]\w+|\w+=[\w,]+))*)$"
)


@pytest.fixture(scope="module")
def environment() -> dict:
    return yaml.safe_load((ROOT / "spack.yaml").read_text())["spack"]


@pytest.fixture(scope="module")
def specs(environment: dict) -> dict[str, re.Match[str]]:
    found = [SPEC.match(text) for text in environment["specs"]]
    assert None not in found, environment["specs"]
    return {match["name"]: match for match in found}


def required() -> dict[str, Requirement]:
    """What hpcdl asks of other packages on a compute node, by Spack's name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["worker"], *extras["mpi"], *extras["digits"]]
    found = [Requirement(text) for text in texts]
    return {PYPI_NAMES.get(one.name, f"py-{one.name}"): one for one in found}


def test_every_package_has_a_recipe(specs: dict) -> None:
    assert set(specs) <= set(RECIPES)


def test_everything_that_hpcdl_needs_is_there(specs: dict) -> None:
    assert set(required()) | {"py-horovod", "python"} <= set(specs)


@pytest.mark.parametrize("name", sorted(set(required()) - OLDER_IN_SPACK))
def test_the_newest_recipe_is_new_enough(name: str) -> None:
    newest = RECIPES[name]
    assert newest is None or required()[name].specifier.contains(newest)


def test_what_is_older_in_spack_is_said_in_the_file() -> None:
    """When Spack catches up, or the requirement is lowered, the warning in the file must go."""
    for name in OLDER_IN_SPACK:
        assert not required()[name].specifier.contains(RECIPES[name])
    assert "Spack's newest DALI" in (ROOT / "spack.yaml").read_text()


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_variants_and_their_values_exist(specs: dict, name: str) -> None:
    for text in specs[name]["variants"].split():
        variant, _, values = text.lstrip("+~").partition("=")
        assert variant in VARIANTS[name]
        assert set(values.split(",")) <= VALUES.get(variant, set(values.split(",")))


def test_only_those_packages_have_variants(specs: dict) -> None:
    assert {name for name, match in specs.items() if match["variants"]} == set(VARIANTS)


def test_a_gpu_build_names_its_gpus(specs: dict) -> None:
    """The recipes of torch and Horovod refuse +cuda with cuda_arch=none, and NCCL without CUDA."""
    for name in ("py-torch", "py-horovod"):
        assert "+cuda" in specs[name]["variants"]
        assert re.search(r"cuda_arch=\d+", specs[name]["variants"])


def test_the_variant_without_gpus_has_the_same_packages(specs: dict) -> None:
    """It stands in comments, as the specs that are to be exchanged."""
    lines = re.findall(r'^#   - "(.*)"$', (ROOT / "spack.yaml").read_text(), re.MULTILINE)
    found = {match["name"]: match for line in lines if (match := SPEC.match(line))}
    assert len(found) == len(lines) == 2
    for name, match in found.items():
        assert match["version"] == specs[name]["version"]
        assert "~cuda" in match["variants"]
        assert not re.search(r"nccl|cuda_arch", match["variants"])
        for text in match["variants"].split():
            variant, _, values = text.lstrip("+~").partition("=")
            assert variant in VARIANTS[name]
            assert set(values.split(",")) <= VALUES.get(variant, set(values.split(",")))


def test_slurm_is_the_clusters_own(environment: dict) -> None:
    slurm = environment["packages"]["slurm"]
    assert slurm["buildable"] is False
    assert [external["spec"].partition("@")[0] for external in slurm["externals"]] == ["slurm"]
    assert "schedulers=slurm" in environment["packages"]["openmpi"]["require"]


def test_it_says_that_it_was_not_installed() -> None:
    assert "NOT been installed" in (ROOT / "spack.yaml").read_text()
