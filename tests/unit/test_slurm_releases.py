"""Slurm 20.11 to 25.05 as its manuals have it; and what hpcdl does not follow: federations, heterogeneous jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import slurm
from hpcdl.errors import Mistake, UnknownName
from hpcdl.slurm import client, cluster, nodes, refusals, words
from hpcdl.slurm.commands import clean_words
from hpcdl.slurm.survey import survey
from hpcdl.worker.opening import require_one_component
from tests.unit.slurm_manuals import RELEASES, SACCT, SINFO, SQUEUE

FEDERATION = (
    "Federation: fed1\n"
    "Self:       juno:127.0.0.1:6817 ID:1 FedState:ACTIVE Features:\n"
    "Sibling:    jupiter:10.0.0.2:6817 ID:2 FedState:ACTIVE Features: PersistConnSend/Recv:Yes/Yes Synced:Yes\n"
    "Sibling:    saturn:10.0.0.3:6817 ID:3 FedState:ACTIVE Features: PersistConnSend/Recv:Yes/Yes Synced:Yes\n"
)
releases = pytest.mark.parametrize("release", RELEASES, ids=[one.version for one in RELEASES])


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Stand-ins for Slurm's programs, alone on PATH but for the shell; each notes how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr(client, "_sacct", client._Sacct())
    monkeypatch.delenv("SLURM_CLUSTERS", raising=False)

    def write(name, body):
        path = folder / name
        path.write_text(f'#!/bin/bash\necho {name} "$@" >>{tmp_path}/asked\n{body}\n')
        path.chmod(0o755)

    for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "srun"):
        write(name, "exit 1")
    return write


def say(text):
    """A shell body that prints a text."""
    return f"cat <<'END'\n{text}END\n"


# ---- Each release ----


@releases
def test_pmis_are_read_from_either_stream(release):
    answer = clean_words(release.pmi_list).replace("; ", "\n") if release.pmi_list.startswith("srun") else ""
    assert set(nodes.read_pmi_types(release.pmi_list)) == set(release.pmi)
    assert not answer or set(nodes.read_pmi_types(answer)) == set(release.pmi)


@releases
def test_a_node_is_what_it_is_whatever_its_comment_says(release):
    assert cluster.read_node(release.node) == cluster.NodeAnswer(
        name="gpu01",
        architecture="x86_64",
        cpus=128,
        cores=64,
        threads_per_core=2,
        memory_mb=515_000,
        gpus=4,
        gpu="a100",
        features="a100,nvlink",
        system="Linux 4.18.0-553.el8.x86_64 #1 SMP Tue May 14 13:23:59 EDT 2024",
    )


@releases
def test_partitions_with_their_limits(release):
    found = cluster.read_partitions(release.partition)
    assert found == {
        "gpu": cluster.Partition(
            "gpu",
            is_default=True,
            state="UP",
            max_time="1-00:00:00",
            default_time="00:30:00",
            accounts="physics,bench",
            qos="high,low",
        ),
        "debug": cluster.Partition("debug", False, "DRAIN", "UNLIMITED", None, "ALL", "ALL"),  # noqa: FBT003
    }


@releases
def test_settings_with_and_without_accounting(release):
    kept, lost = cluster.read_settings(release.config), cluster.read_settings(release.unaccounted)
    assert (kept["ClusterName"], kept["SLURM_VERSION"]) == ("juno", release.version)
    assert "AccountingStorageBackupHost" not in kept
    assert (cluster.needs_account(kept), cluster.needs_account(lost)) == (True, False)
    assert (nodes.keeps_accounts(release.config), nodes.keeps_accounts(release.unaccounted)) == (True, False)


@releases
def test_states_of_nodes_and_jobs(release):
    assert all(word.is_fit for word in nodes.read_states(release.node_states).values())
    told = {"word": release.word, "code": "256", "reason": "None"}
    queue, books = (
        words.read_squeue(SQUEUE.format(**told)),
        words.read_sacct(SACCT.format(**told | {"code": "1:0"})),
    )
    assert queue.keys() == {101, 102, 103}
    assert books.keys() == {101, 102, 103, 104}
    for known in (queue, books):
        assert known[103].state is not words.State.UNKNOWN
        assert known[103].is_over is release.over
        assert known[103].exit_code == (1 if release.over else None)
        assert known[102].elapsed_s == 93_784
        assert known[101].nodes == ""


def test_sizes_are_the_least_of_each_partition():
    found = cluster.read_sizes(SINFO)
    assert {name: memory for name, (_, memory) in found.items()} == {"gpu": 257_000, "debug": 515_000}
    facts = found["gpu"][0]
    assert (facts.nodes, facts.cores, facts.threads_per_core, facts.gpus, facts.gpu) == (16, 64, 2, 4, "a100")
    assert (facts.is_default, found["debug"][0].is_default) == (True, False)


def test_a_setting_without_a_value_takes_none_from_the_next_line():
    told = "CliFilterPlugins =\nClusterName = juno\nMpiDefault = \nSLURM_VERSION = 23.11"
    assert cluster.read_settings(told) == {"ClusterName": "juno", "SLURM_VERSION": "23.11"}


@given(st.text())
def test_no_text_upsets_the_readers(text):
    for line in (
        text,
        f"NodeName={text}",
        f"PartitionName={text} MaxTime={text}",
        f"A = {text}",
        f"a|{text}|1",
    ):
        cluster.read_node(line)
        cluster.read_partitions(line)
        cluster.read_settings(line)
        cluster.read_sizes(line)
        cluster.read_federation(line)


@releases
def test_a_survey_of_each_release(put, release):
    listing = say(release.pmi_list)
    to_stderr = listing.replace("cat <<", "cat >&2 <<") if release.pmi_list.startswith("srun") else listing
    put("srun", f'case "$1" in --help) echo "--container-image=PATH";; *) {to_stderr}\n;; esac')
    bodies = {"config": release.config, "partition": release.partition, "node": release.node}
    cases = "\n".join(f"*'show {name}'*) {say(text)}\n;;" for name, text in bodies.items())
    put("scontrol", f'case "$*" in\n{cases}\nesac')
    put("sinfo", f'case "$*" in\n*--Node*) {say(release.node_states)}\n;;\n*) {say(SINFO)}\n;; esac')
    put("sacctmgr", "echo bench; echo physics; echo bench")
    found = survey()
    assert (found.version, found.partition.name, found.accounts) == (
        release.version,
        "gpu",
        ("bench", "physics"),
    )
    assert found.partition.memory_mb == 257_000
    assert found.node is not None
    assert found.node.cores == 64
    assert set(found.pmi) == set(release.pmi)
    assert found.containers["pyxis"] == "srun --help"


def test_states_of_one_partition_are_asked_for_without_all(put, tmp_path):
    """As seen with 22.05: 'Conflicting options, -a and -p, specified.'"""
    put(
        "sinfo", 'case "$*" in *--all*--partition*|*--partition*--all*) exit 1;; esac; echo "gpu01|idle|none"'
    )
    assert client.node_states("gpu") is not None
    assert client.node_states() is not None
    assert [
        ("--all" in line, "--partition" in line) for line in (tmp_path / "asked").read_text().splitlines()
    ] == [
        (False, True),
        (True, False),
    ]


# ---- A PMI that srun does not know ----


def test_an_unknown_pmi_is_told_with_the_nearest(put):
    put("srun", say(RELEASES[-1].pmi_list))
    slurm.require_pmi(["pmix", "none", "pmix_v5", None])
    with pytest.raises(UnknownName, match=r"there is no PMI 'pmxi'. Did you mean 'pmi") as problem:
        slurm.require_pmi(["pmxi"])
    assert "[slurm] pmi" in str(problem.value)


def test_where_srun_does_not_say_the_site_is_believed(put):
    put("srun", "exit 1")
    slurm.require_pmi(["whatever"])


# ---- What is not followed ----


def test_a_federation_is_refused_before_anything_is_asked_of_sbatch(put, tmp_path):
    put("scontrol", say(FEDERATION))
    assert cluster.read_federation(FEDERATION) == ("fed1", "jupiter", "saturn")
    with pytest.raises(Mistake, match="federation fed1: the job could begin on jupiter or saturn"):
        slurm.test("#!/bin/bash\n")
    assert "sbatch" not in (tmp_path / "asked").read_text()


def test_one_cluster_of_a_federation_can_be_named(put, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "juno")
    put("scontrol", say(FEDERATION))
    put("sbatch", "echo 'Job 7 to start' >&2")
    assert slurm.test("#!/bin/bash\n") == "Job 7 to start"


@pytest.mark.parametrize("named", ["juno,jupiter", "all"])
def test_several_clusters_are_refused(put, monkeypatch, named):
    monkeypatch.setenv("SLURM_CLUSTERS", named)
    with pytest.raises(Mistake, match="a run is of one"):
        slurm.test("#!/bin/bash\n")


def test_a_job_that_went_to_another_cluster_is_taken_back(put, tmp_path):
    put("sbatch", "echo '123;jupiter'")
    script = tmp_path / "script.sbatch"
    script.write_text("#!/bin/bash\n")
    with pytest.raises(Mistake, match="'jupiter', which was not asked for; it was cancelled"):
        slurm.submit(script)
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "scancel --clusters=jupiter 123"


@pytest.mark.parametrize("line", ["#SBATCH hetjob", "#SBATCH packjob", "#SBATCH  hetjob # second"])
def test_a_script_of_several_components_is_refused(put, line):
    with pytest.raises(Mistake, match="heterogeneous"):
        slurm.test(f"#!/bin/bash\n#SBATCH --nodes=1\n{line}\n#SBATCH --nodes=2\n")


@pytest.mark.parametrize("line", ["#SBATCH --clusters=a,b", "#SBATCH -M jupiter", "#SBATCH --cluster=a"])
def test_a_script_for_other_clusters_is_refused(put, line):
    with pytest.raises(Mistake, match="names clusters"):
        slurm.test(f"#!/bin/bash\n{line}\n")


def test_a_script_that_only_speaks_of_them_is_not():
    refusals.require_one_job("#!/bin/bash\n#SBATCH --comment=hetjob\n# #SBATCH hetjob\necho --clusters\n")


@pytest.mark.parametrize("row", ["123+0|RUNNING|0|0:01|N/A|node1|None|", " 123+1|PENDING", "123+0.batch|x"])
def test_a_component_in_the_queue_is_refused(row):
    with pytest.raises(Mistake, match="job 123 is a heterogeneous one"):
        refusals.require_no_components(f"122|RUNNING|0|0:01|N/A|node1|None|\n{row}\n")


def test_a_plus_elsewhere_is_no_component():
    refusals.require_no_components(SQUEUE.format(word="CANCELLED+", code=0, reason="a 1+0"))


def test_squeue_with_components_is_refused_by_the_client(put):
    put("squeue", "echo '123+0|RUNNING|0|0:01|N/A|node1|None|'")
    with pytest.raises(Mistake, match="heterogeneous"):
        slurm.states([123])


@pytest.mark.parametrize("name", ["SLURM_HET_SIZE", "SLURM_PACK_SIZE"])
def test_inside_a_heterogeneous_job_nothing_begins(name):
    with pytest.raises(Mistake, match=rf"2 components \({name}\)"):
        require_one_component({name: "2"})
    require_one_component({})
