"""Site files that are written from what Slurm tells, and those that ship; and the commands that hand them out."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import cli, script
from hpcdl import site as sites
from hpcdl.errors import Failure, UnknownName
from hpcdl.frozen import parse
from hpcdl.site import Site
from hpcdl.sites.draft import choose_pmi, write_site
from hpcdl.sites.examples import find_example, list_examples
from hpcdl.slurm.cluster import NodeAnswer, Partition
from hpcdl.slurm.nodes import NodeFacts
from hpcdl.slurm.survey import Survey, choose_partition
from tests.golden.jobs import make_job

EXAMPLES = {"apptainer", "cray", "grace-hopper", "plain-slurm", "pyxis"}
FACTS = NodeFacts("gpu", True, 16, 64, 2, 4, "a100", None)  # noqa: FBT003
GPU = Partition("gpu", True, "UP", "1-00:00:00", "00:30:00", "ALL", "high,low", FACTS, 515_000)  # noqa: FBT003
CPU = Partition("cpu", state="DOWN", max_time="UNLIMITED", accounts="physics")
SURVEY = Survey(
    version="23.11.10",
    settings={
        "ClusterName": "juno",
        "MpiDefault": "pmi2",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageEnforce": "associations,limits,qos,safe",
    },
    partitions={"gpu": GPU, "cpu": CPU},
    partition=GPU,
    node=NodeAnswer("gpu01", "x86_64", 128, 64, 2, 515_000, 4, "a100", None, "Linux 5.14"),
    pmi=("none", "pmi2", "pmix", "pmix_v4"),
    accounts=("bench", "physics"),
    containers={"pyxis": "srun --help"},
    modules="/usr/share/lmod/lmod/libexec/lmod",
    spack=None,
)
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@pytest.fixture
def hpcdl(monkeypatch, capsys):
    """The command line in this process: exit code, stdout, stderr."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return call


def load(text, folder):
    path = folder / "site.toml"
    path.write_text(text)
    return sites.load(path)[0]


# ---- Written from what Slurm tells ----


def test_what_was_read_stands_as_a_value_and_nothing_else_does(tmp_path):
    site = load(write_site(SURVEY), tmp_path)
    assert site.model_dump(exclude_unset=True) == {
        "name": "juno",
        "slurm": {"partition": "gpu", "pmi": "pmix"},
        "node": {"cores": 64, "threads_per_core": 2, "gpus": 4, "gpu": "a100"},
        "setup": {},
    }


def test_what_there_is_a_choice_of_is_commented_out_with_what_it_could_be():
    lines = write_site(SURVEY).splitlines()
    [cpu] = [line for line in lines if line.startswith('# partition = "cpu"')]
    assert cpu.endswith("# at most UNLIMITED, for accounts physics, state DOWN")
    [account] = [line for line in lines if line.startswith("# account")]
    assert "Slurm refuses jobs without one; yours: bench, physics (sacctmgr)" in account
    [pmi] = [line for line in lines if line.startswith("pmi")]
    assert "it has pmi2, pmix_v4 as well; MpiDefault is pmi2" in pmi
    assert any(line.startswith("# walltime") and "at most 1-00:00:00" in line for line in lines)


def test_every_entry_says_where_it_was_read_or_what_for():
    entries = [line for line in write_site(SURVEY).splitlines() if " = " in line]
    assert len(entries) > 15
    assert all("  # " in line for line in entries)


def test_every_comment_that_is_an_entry_is_one_when_it_is_let_in(tmp_path):
    """What a person uncomments is a key that the site file has; one at a time, since some are alternatives."""
    text = write_site(SURVEY)
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if not line.startswith("# ") or " = " not in line or line.startswith(("# runtime", "# image")):
            continue
        key = line.removeprefix("# ").partition(" = ")[0]
        changed = [one for one in lines if one.partition(" = ")[0] != key]
        at = changed.index(line)
        header = lines[index - 1] if lines[index - 1] in {"# [cost]", "# [power]"} else None
        if header is not None:
            changed[changed.index(header)] = header.removeprefix("# ")
        changed[at] = line.removeprefix("# ")
        load("\n".join(changed), tmp_path)


@given(st.fixed_dictionaries(dict.fromkeys(("cluster", "partition", "gpu", "found", "account"), names)))
def test_whatever_slurm_calls_things_it_is_toml_and_says_the_same(told):
    partition, account, where = told["partition"], told["account"], told["found"]
    gpu = replace(GPU, name=partition, max_time=account, facts=replace(FACTS, gpu=told["gpu"]))
    other = replace(CPU, name=f"{partition}2", accounts=account)
    found = replace(
        SURVEY,
        version=told["cluster"],
        settings={**SURVEY.settings, "ClusterName": told["cluster"], "MpiDefault": account},
        partition=gpu,
        partitions={partition: gpu, other.name: other},
        accounts=(account,),
        containers={where: where},
        modules=where,
        spack=where,
    )
    read = tomllib.loads(write_site(found))
    assert read["name"] == told["cluster"]
    assert read["slurm"] == {"partition": partition, "pmi": "pmix"}
    assert read["node"]["gpu"] == told["gpu"]
    assert read["setup"] == {}


@pytest.mark.parametrize(
    ("pmi", "default", "chosen"),
    [
        (("pmi2", "pmix"), "pmi2", "pmix"),
        (("none", "pmi2", "cray_shasta"), "none", "cray_shasta"),
        (("none", "pmi2", "cray_shasta"), "pmi2", "pmi2"),
        (("none",), "none", None),
        ((), "pmix", None),
    ],
)
def test_the_pmi_is_one_that_srun_names(pmi, default, chosen):
    found = replace(SURVEY, pmi=pmi, settings={"MpiDefault": default})
    assert choose_pmi(found) == chosen
    assert tomllib.loads(write_site(found))["slurm"].get("pmi") == chosen


def test_a_cluster_that_tells_next_to_nothing_has_a_site_file_all_the_same(tmp_path):
    bare = Partition("all")
    found = Survey("20.11.9", {}, {"all": bare}, bare, None, (), (), {}, None, None)
    assert load(write_site(found), tmp_path).model_dump(exclude_unset=True) == {
        "slurm": {"partition": "all"},
        "node": {},
        "setup": {},
    }


def test_the_partition_is_the_named_one_the_default_or_the_first_that_is_up():
    assert choose_partition({"cpu": CPU, "gpu": GPU}, None) is GPU
    assert choose_partition({"cpu": CPU, "gpu": GPU}, "cpu") is CPU
    up = Partition("up", state="UP")
    assert choose_partition({"cpu": CPU, "up": up}, None) is up
    with pytest.raises(UnknownName, match=r"there is no partition 'gpuu'\. Did you mean 'gpu'"):
        choose_partition({"gpu": GPU}, "gpuu")
    with pytest.raises(Failure, match="no partition"):
        choose_partition({}, None)


def test_without_slurm_it_is_said_what_was_looked_for(hpcdl, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = hpcdl("site", "init", "--output", tmp_path / "site.toml")
    assert (code, out) == (2, "")
    assert "sinfo, scontrol, srun, sbatch are not on PATH" in err
    assert "no site file is needed" in err


def test_a_site_file_is_not_written_over(hpcdl, tmp_path):
    (tmp_path / "site.toml").write_text("mine")
    code, _, err = hpcdl("site", "init", "--output", tmp_path / "site.toml")
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "site.toml").read_text() == "mine"


# ---- Shown ----


def test_each_value_is_shown_with_its_source(hpcdl, tmp_path, monkeypatch):
    (tmp_path / "juno.toml").write_text('name = "juno"\nstore = "/shared/runs"\n[slurm]\npartition = "gpu"\n')
    monkeypatch.delenv("HPCDL_STORE", raising=False)
    code, out, _ = hpcdl("site", "show", "--site", tmp_path / "juno.toml", "--qos", "high", "--json")
    assert code == 0
    told = json.loads(out)
    rows = {row["entry"]: (row["value"], row["source"]) for row in told["site"]}
    assert rows["slurm.partition"] == ("gpu", "juno.toml")
    assert rows["slurm.qos"] == ("high", "--qos")
    assert rows["slurm.exclusive"] == ("true", "default")
    assert rows["slurm.account"] == (None, "default")
    assert told["store"] == "/shared/runs"


# ---- Examples ----


def test_the_examples_are_these():
    assert set(list_examples()) == EXAMPLES


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_makes_a_job_that_bash_reads(name, tmp_path):
    site = parse(Site, tomllib.loads(find_example(name).read_text()), where=name)
    job = make_job(site=site.model_dump(), nodes=(2,))
    text = script.render(job)
    (tmp_path / "script.sbatch").write_text(text)
    subprocess.run(["bash", "-n", str(tmp_path / "script.sbatch")], check=True)
    assert f"#SBATCH --partition={site.slurm.partition}\n" in text
    assert "#SBATCH --nodes=2\n" in text
    assert f"--mpi={site.slurm.pmi}" in text
    assert f"NCCL_SOCKET_IFNAME={site.node.network}" in text


def test_four_superchips_are_four_ranks_of_72_cores():
    site = parse(Site, tomllib.loads(find_example("grace-hopper").read_text()), where="grace-hopper")
    [launch] = [one for one in make_job(site=site.model_dump(), nodes=(2,)).launches if one.kind == "train"]
    assert (launch.world_size, launch.cpus_per_task, launch.gpus_per_node) == (8, 72, 4)


def test_an_example_is_printed_as_it_is(hpcdl):
    assert hpcdl("site", "example", "cray")[:2] == (0, find_example("cray").read_text())
    listed = json.loads(hpcdl("site", "example", "--json")[1])["examples"]
    assert {one["name"] for one in listed} == EXAMPLES


def test_an_unknown_example_is_told_with_the_nearest(hpcdl):
    code, _, err = hpcdl("site", "example", "apptaner")
    assert code == 2
    assert "Did you mean 'apptainer'?" in err
