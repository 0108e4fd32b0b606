"""How a job comes to its software: what a site file may say, what is missed before submitting, what a rank finds."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from hpcdl import delivery, script
from hpcdl.errors import Mistake, Refused
from hpcdl.preparation import choose_python
from hpcdl.records import Delivery, Missing
from hpcdl.report.deliveries import make_software_table
from hpcdl.site import Site
from hpcdl.store import Store
from hpcdl.worker import preflight
from hpcdl.worker.delivery import check_delivery, describe_delivery, read_delivery
from tests.golden.jobs import make_job
from tests.unit.records_maker import write_run

SIF = {"runtime": "apptainer", "image": "/images/x.sif"}
HOST = Delivery(python="/usr/bin/python3", prefix="/usr", hpcdl="/opt/hpcdl")
NOWHERE = "/proc/none"


def make_site(**tables: object) -> Site:
    return Site.model_validate(tables)


# ---- The site file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["venv", "spack", "python"])
def test_an_image_has_a_python_of_its_own(key: str) -> None:
    with pytest.raises(ValidationError, match=rf"\[setup\] {key} is of the host"):
        make_site(container=SIF, setup={key: "/x"})


@pytest.mark.parametrize("option", ["--cleanenv", "-e", "-C", "--containall"])
def test_a_rank_must_know_its_place(option: str) -> None:
    with pytest.raises(ValidationError, match="takes away the environment"):
        make_site(container=SIF | {"options": [option]})


@pytest.mark.parametrize("image", ["x.sif", "images/x.sif", "./x.sif"])
def test_an_image_of_apptainer_is_a_whole_path_or_a_name_with_a_scheme(image: str) -> None:
    with pytest.raises(ValidationError, match="neither an absolute path"):
        make_site(container=SIF | {"image": image})


def test_names_of_images_are_left_to_the_runtime() -> None:
    for runtime, image in (("apptainer", "docker://x/y:1"), ("pyxis", "nvcr.io#x/y:1"), ("pyxis", "ubuntu")):
        assert not make_site(container={"runtime": runtime, "image": image}).container.image_is_path


def test_the_python_of_a_job_is_that_of_its_software() -> None:
    assert choose_python(make_site(container=SIF | {"python": "/in/python"})) == "/in/python"
    assert choose_python(make_site(setup={"spack": "hpcdl"})) == "python3"
    assert choose_python(make_site(setup={"spack": "hpcdl", "venv": "/v"})) == "/v/bin/python"
    # Nothing is entered by `hpcdl run`.
    assert choose_python(make_site(container=SIF), here=True) == choose_python(make_site())


# ---- Mounts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "mount", "words"),
    [
        ("apptainer", "/a,b", "no way to write ','"),
        ("apptainer", "/a\\b", "no way to write"),
        ("apptainer", "/a:/b:ro:x", "it is not HOST"),
        ("apptainer", ":/b", "it is not HOST"),
        ("pyxis", "/a b", "pyxis has no way to write ' '"),
        ("pyxis", "/$(touch CANARY)", "pyxis has no way to write"),
        ("pyxis", "/a`x`", "pyxis has no way to write"),
    ],
)
def test_what_cannot_be_mounted_is_refused_before_submitting(runtime: str, mount: str, words: str) -> None:
    site = {"container": {"runtime": runtime, "image": "/x", "mounts": [mount]}}
    with pytest.raises(Mistake, match="cannot be mounted") as caught:
        script.render(make_job(site=site))
    assert words in str(caught.value)


def test_a_store_that_cannot_be_mounted_is_refused_too() -> None:
    with pytest.raises(Mistake, match="cannot be mounted"):
        script.render(make_job(site={"container": SIF}, run_dir="/a:b/runs/1"))


# ---- Before submitting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"container": {"runtime": "pyxis", "image": "{}/none.sqsh"}}, "there is no image"),
        ({"container": SIF | {"image": "$DELIVERY_TEST/none.sif"}}, "there is no image"),
        ({"setup": {"venv": "{}/none"}}, "there is no virtual environment"),
        ({"setup": {"spack": "{}/none"}}, "there is no Spack environment"),
        ({"setup": {"spack": "x", "spack_root": "{}/none"}}, "there is no Spack"),
    ],
)
def test_what_is_not_there_is_named_before_a_node_hour_is_spent(
    tables: dict, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY_TEST", str(tmp_path))
    filled = {
        name: {k: v.replace("{}", str(tmp_path)) for k, v in table.items()} for name, table in tables.items()
    }
    with pytest.raises(Mistake, match=words) as caught:
        delivery.check(make_site(**filled), tmp_path / "runs")
    assert str(tmp_path) in str(caught.value)


def test_a_variable_within_a_path_is_taken_as_it_is_written_as_the_script_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY_TEST", "proj")
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/x.sif").touch()
    with pytest.raises(Mistake, match="there is no image") as caught:
        delivery.check(make_site(container=SIF | {"image": f"{tmp_path}/$DELIVERY_TEST/x.sif"}), tmp_path)
    assert "$DELIVERY_TEST/x.sif" in caught.value.what


@pytest.mark.parametrize("image", ["/nowhere/at/all/x.sif", "$NO_SUCH_VARIABLE/x.sif", "docker://x/y"])
def test_what_only_the_nodes_see_is_left_to_them(image: str, tmp_path: Path) -> None:
    delivery.check(make_site(container=SIF | {"image": image}), tmp_path)


def test_another_file_system_of_this_machine_tells_nothing_of_the_nodes(tmp_path: Path) -> None:
    """/proc is surely not that of the store."""
    delivery.check(make_site(container=SIF | {"image": "/proc/sys/none.sif"}), tmp_path)


def test_a_file_system_is_known_by_its_longest_mount_point(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("a / ext4 rw 0 0\nb /home lustre rw 0 0\nc /home/my\\040images nfs4 rw 0 0\n")
    assert delivery._find_type(Path("/home/my images/x.sif"), str(mounts)) == "nfs4"
    assert delivery._find_type(Path("/home/x.sif"), str(mounts)) == "lustre"
    assert delivery._find_type(Path("/homes/x.sif"), str(mounts)) == "ext4"


def test_all_that_is_there_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "x.sif").touch()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").touch()
    delivery.check(make_site(container=SIF | {"image": f"{tmp_path}/x.sif"}), tmp_path)
    delivery.check(make_site(setup={"venv": f"{tmp_path}/venv"}), tmp_path)
    delivery.check(Site(), tmp_path)


# ---- What a rank finds -----------------------------------------------------------------------------------------


def look(environ: dict[str, str], *, lock: Path = Path(NOWHERE), mounts: str = NOWHERE) -> Delivery:
    return read_delivery(environ, lock=lock, mounts=mounts)


def test_apptainer_names_its_image_and_the_script_its_file() -> None:
    found = look({"APPTAINER_CONTAINER": "/i/my x.sif", "HPCDL_IMAGE": "12345 1790000000 /real/my x.sif"})
    assert (found.runtime, found.image, found.image_bytes) == ("apptainer", "/i/my x.sif", 12345)
    assert found.image_modified_utc == datetime.fromtimestamp(1_790_000_000, UTC)


def test_the_size_of_an_image_that_was_pulled_is_missing_and_not_zero() -> None:
    found = look({"SINGULARITY_CONTAINER": "/cache/abc", "HPCDL_IMAGE": " "})
    assert found.runtime == "apptainer"
    assert isinstance(found.image_bytes, Missing)
    assert isinstance(found.image_modified_utc, Missing)


def test_pyxis_is_known_by_enroots_root(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 8:1 / / rw - ext4 a rw\n90 22 8:1 /data/pyxis_7.0 / ro - ext4 a rw\n")
    found = look({}, mounts=str(mounts))
    assert found.runtime == "pyxis"
    assert isinstance(found.image, Missing)
    mounts.write_text("22 1 8:1 / / rw - ext4 a rw\n")
    assert look({}, mounts=str(mounts)).runtime is None
    assert look({}, lock=mounts).runtime == "pyxis"


def test_the_variable_of_the_script_alone_is_no_image() -> None:
    """On the host it only says what was to be entered."""
    found = look({"HPCDL_IMAGE": "1 2 /x.sif"})
    assert (found.runtime, found.image, found.image_bytes) == (None, None, None)


def test_modules_and_environments_are_recorded() -> None:
    found = look({"LOADEDMODULES": "gcc/13:openmpi/5", "SPACK_ENV": "/s/env", "VIRTUAL_ENV": "/v"})
    assert (found.modules, found.spack, found.venv) == (("gcc/13", "openmpi/5"), "/s/env", "/v")
    assert (
        describe_delivery(found)
        == "virtual environment /v, Spack environment /s/env, modules gcc/13, openmpi/5"
    )
    assert look({}).modules == ()


def judge(tmp_path: Path, found: Delivery, *, launcher: str = "srun", **site: object) -> str:
    run = write_run(tmp_path, launcher=launcher, site=site)
    folder = run.launches()[0]
    finding = check_delivery(folder.plan(), folder, found)
    return f"{finding.outcome}: {finding.detail}"


def has(**changes: object) -> Delivery:
    return HOST.model_copy(update=changes)


@pytest.mark.parametrize(
    ("site", "found", "words"),
    [
        ({"container": SIF}, HOST, "runs on the host itself"),
        ({"container": SIF}, has(runtime="pyxis"), "and pyxis started this rank"),
        ({"container": SIF}, has(runtime="apptainer", image="/o/x.sif"), "runs in /o/x.sif"),
        ({"setup": {"venv": "/v"}}, HOST, "virtual environment /v was asked for, and this rank runs in /usr"),
        ({"setup": {"venv": "/v", "python": "/p"}}, has(prefix="/v"), "runs in none"),
        ({"setup": {"spack": "a"}}, has(spack="/s/environments/b"), "/s/environments/b is active"),
        ({"setup": {"spack": "/e/a"}}, has(spack="/s/a"), "/s/a is active"),
        ({"setup": {"spack": "a"}}, HOST, "none is active"),
        ({"setup": {"modules": ["gcc"]}}, HOST, "none is loaded"),
    ],
)
def test_a_rank_in_other_software_is_refused(site: dict, found: Delivery, words: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="software as asked") as caught:
        judge(tmp_path, found, **site)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("site", "found", "words"),
    [
        ({}, HOST, "held: Python of /usr"),
        (
            {"container": SIF},
            has(runtime="apptainer", image="/images/x.sif"),
            "held: /images/x.sif by apptainer",
        ),
        (
            {"container": SIF | {"image": "docker://x"}},
            has(runtime="apptainer", image="/cache/1"),
            "held: /cache/1",
        ),
        ({"container": SIF | {"runtime": "pyxis"}}, has(runtime="pyxis"), "held: an image that it does not"),
        ({"setup": {"venv": "/v/"}}, has(prefix="/v"), "held"),
        ({"setup": {"spack": "a"}}, has(spack="/s/environments/a"), "held"),
        ({"setup": {"modules": ["gcc", "mpi/5"]}}, has(modules=("gcc/13", "mpi/5")), "held"),
        # A module may be an alias of another: that cannot be told from here.
        ({"setup": {"modules": ["gnu"]}}, has(modules=("gcc/13",)), "could not look: no module"),
        # A Slurm that runs in a container as a whole.
        ({}, has(runtime="apptainer", image="/x"), "held"),
    ],
)
def test_a_rank_in_its_software_is_told_of(site: dict, found: Delivery, words: str, tmp_path: Path) -> None:
    assert judge(tmp_path, found, **site).startswith(words)


def test_without_a_batch_script_nothing_is_entered(tmp_path: Path) -> None:
    assert judge(tmp_path, HOST, launcher="direct", container=SIF).startswith("held")


def test_an_image_by_a_link_is_that_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCDL_IMAGE", "1 2 /images/x-2026.sif")
    found = has(runtime="apptainer", image="/images/x-2026.sif")
    assert judge(tmp_path, found, container=SIF).startswith("held")


def test_images_of_two_sizes_are_two_images() -> None:
    one, other = (has(runtime="apptainer", image="/x", image_bytes=size) for size in (1, 2))
    assert preflight.name_image(one) != preflight.name_image(other)
    assert preflight.name_image(HOST) is None


# ---- In a report -----------------------------------------------------------------------------------------------


def test_the_report_tells_the_software(tmp_path: Path) -> None:
    found = has(
        runtime="apptainer",
        image="/x.sif",
        image_bytes=5,
        image_modified_utc=Missing(missing="nobody looked"),
        modules=("gcc/13",),
    )
    launch = SimpleNamespace(environment=SimpleNamespace(delivery=found))
    table = make_software_table([SimpleNamespace(run_id="r", launches=[launch, launch])])
    assert table is not None
    [row] = table.rows
    cells = dict(zip((column.key for column in table.columns), row, strict=True))
    assert cells["image"] == "/x.sif"
    assert cells["image_bytes"].value == 5
    assert cells["image_modified_utc"] == "unknown: nobody looked"
    assert cells["modules"] == "gcc/13"


def test_runs_from_before_have_no_such_table(tmp_path: Path) -> None:
    launch = SimpleNamespace(environment=SimpleNamespace(delivery=None))
    assert make_software_table([SimpleNamespace(run_id="r", launches=[launch])]) is None
    write_run(tmp_path)
    [run] = Store(tmp_path).runs()
    assert run.job().site.container is None
    assert os.fspath(run.path)
