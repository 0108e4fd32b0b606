"""What a job of a minute proves of a site file: held against records as nodes leave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import hpcdl
from hpcdl import script
from hpcdl.errors import Mistake
from hpcdl.jobs import Standing
from hpcdl.records import Finding
from hpcdl.report.sites import describe_proofs
from hpcdl.site import Site
from hpcdl.sites.evidence import Evidence, read_last_word, require_check
from hpcdl.sites.provers import prove
from hpcdl.sites.proving import Wish, plan_asked_walltime, plan_check, plan_launches
from hpcdl.slurm.nodes import NodeFacts
from hpcdl.store import Store, lay_out
from tests.check_launches import make_checked
from tests.unit.records_maker import HELD, Recording, make_environment, make_exit

SITE = {
    "name": "juno",
    "slurm": {"partition": "gpu", "account": "bench", "pmi": "pmix", "walltime": "2:00:00", "memory": "0"},
    "node": {"cores": 8, "threads_per_core": 2, "gpus": 0, "network": "ib"},
    "setup": {"modules": ["cuda/13.0"], "python": "/opt/python"},
    "power": {"pue": 1.2},
}
FACTS = NodeFacts(
    "gpu", is_default=True, nodes=4, cores=8, threads_per_core=2, gpus=0, gpu=None, max_walltime_s=None
)
WORDS = {
    "cpu": "EPYC",
    "nic_name": "ib0",
    "nic": "mlx5_core, 100000 Mbit/s",
    "gpu": "none",
    "version.python": "3.11.2",
    "version.hpcdl": hpcdl.__version__,
    "version.torch": "2.13.0",
    "version.horovod": "0.28.1",
    "version.dali": "2.4.0",
}
FINDINGS = (
    HELD.model_copy(update={"detail": "2 ranks"}),
    Finding(check="one rank for each place", outcome="held", detail="2 hosts"),
    Finding(check="software as asked", outcome="held", detail="modules cuda/13.0"),
)


def flat(site):
    return {
        f"{table}.{key}": "site.toml"
        for table, values in site.items()
        if isinstance(values, dict)
        for key in values
    } | {"name": "site.toml"}


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """The job of a check, without Slurm on PATH."""
    monkeypatch.setenv("PATH", "/nowhere")

    def make(nodes=2, engine="horovod", site=SITE):
        wish = Wish(Site.model_validate(site), flat(site), nodes, engine)
        return plan_check(wish, Store(tmp_path / "runs"))

    return make


def look(host, *, numbers=None, **words):
    told = {"cores": 8.0, "gpus": 0.0} | (numbers or {})
    return make_checked(host=host, words=WORDS | {"boot_id": host} | words, numbers=told)


def witness(job, *looks, **changes):
    """All went well, unless something else is said."""
    host = {"affinity": tuple(range(16)), "cores": tuple(range(8))}
    how = Recording(findings=FINDINGS, host=host)
    environment = make_environment(job.launches[-1], how)
    usual = {
        "job": job,
        "facts": FACTS,
        "script": script.render(job),
        "standing": Standing(over=True, word="COMPLETED", slurm_job_id=48151),
        "looks": looks or (look("node1"), look("node2")),
        "environment": environment.model_copy(
            update={"slurm": {"SLURM_JOB_PARTITION": "gpu", "SLURM_JOB_ACCOUNT": "bench"}}
        ),
    }
    return Evidence(**usual | changes)


def outcomes(evidence):
    return {one.entry: one.outcome for one in prove(evidence)}


def seen(evidence, entry):
    [found] = [one for one in prove(evidence) if one.entry == entry]
    return found.outcome, found.seen


# ---- The job ----


def test_the_job_looks_at_nodes_and_then_lets_all_ranks_meet(plan):
    job = plan()
    look_first, world = job.launches
    assert (look_first.kind, look_first.pmi, look_first.check.checks) == ("check", "none", ("identity",))
    assert (world.kind, world.pmi, world.train.transport, world.world_size) == ("train", "pmix", "mpi", 2)
    assert job.walltime_s == 300
    assert plan_asked_walltime(job).walltime_s == 7200
    require_check(job)


def test_on_one_node_two_ranks_meet(plan):
    assert [launch.world_size for launch in plan(nodes=1).launches] == [2, 2]


@pytest.mark.parametrize(
    ("engine", "pmi", "gpus", "transport"),
    [
        ("horovod", "pmi2", 0, "mpi"),
        ("horovod", "none", 0, "gloo"),
        ("horovod", "pmi2", 4, "auto"),
        ("ddp", "pmi2", 0, "auto"),
    ],
)
def test_ranks_meet_by_what_there_is_to_prove(engine, pmi, gpus, transport):
    site = Site.model_validate({"slurm": {"pmi": pmi}, "node": {"cores": 8, "gpus": gpus}})
    world = plan_launches(Wish(site, {}, 2, engine), 2)[-1]
    assert world.train.transport == transport


def test_another_run_is_no_check(plan):
    with pytest.raises(Mistake, match="no check of a site"):
        require_check(plan().model_copy(update={"tags": ()}))


# ---- What it proves ----


def test_where_all_is_well_every_entry_that_can_be_proven_is(plan):
    found = outcomes(witness(plan()))
    unseen = {"name", "power.pue"}
    assert {entry for entry, outcome in found.items() if outcome == "not checked"} == unseen
    assert "refuted" not in found.values()
    assert {
        "slurm.partition",
        "node.cores",
        "slurm.pmi",
        "store",
        "hpcdl",
        "torch",
        "horovod",
    } <= found.keys()


@pytest.mark.parametrize(
    ("entry", "changes", "told"),
    [
        ("node.cores", {"numbers": {"cores": 4.0}}, "8 on node1; 4 on node2"),
        ("node.gpus", {"numbers": {"gpus": -1.0}}, "0 on node1; -1 on node2"),
        ("node.network", {"nic_name": "eth0"}, "node2: no such interface; the default route has eth0"),
        ("hpcdl", {"version.hpcdl": "0.0.1"}, "0.0.1 and"),
        ("torch", {"version.torch": "2.0"}, "2.0 and 2.13.0"),
    ],
)
def test_a_node_that_differs_refutes_the_entry_and_is_named(plan, entry, changes, told):
    evidence = witness(plan(), look("node1"), look("node2", **changes))
    outcome, words = seen(evidence, entry)
    assert outcome == "refuted"
    assert told in words
    assert [one for one, found in outcomes(evidence).items() if found == "refuted"] == [entry]


def test_a_number_that_nobody_could_read_proves_nothing(plan):
    untold = {"cores": {"missing": "the kernel does not tell"}}
    outcome, words = seen(witness(plan(), look("node1"), look("node2", numbers=untold)), "node.cores")
    assert (outcome, words) == ("not checked", "not every node tells: 8 on node1; untold on node2")


def test_more_cores_than_the_site_uses_are_no_contradiction_and_more_gpus_are(plan):
    site = SITE | {"node": SITE["node"] | {"gpus": 2}}
    job = plan(site=site)
    more = {"cores": 64.0, "gpus": 4.0}
    found = outcomes(witness(job, look("node1", numbers=more), look("node2", numbers=more)))
    assert (found["node.cores"], found["node.gpus"]) == ("proven", "refuted")


@pytest.mark.parametrize(
    ("named", "outcome"), [("A100", "proven"), ("a100-80gb", "proven"), ("H100", "refuted")]
)
def test_the_gpus_name_is_held_against_the_drivers(plan, named, outcome):
    job = plan(site=SITE | {"node": SITE["node"] | {"gpus": 1, "gpu": named}})
    looks = [look(host, numbers={"gpus": 1.0}, gpu="NVIDIA A100-SXM4-80GB") for host in ("node1", "node2")]
    assert outcomes(witness(job, *looks))["node.gpu"] == outcome


def test_a_node_that_said_nothing_is_missed(plan):
    outcome, words = seen(witness(plan(), look("node1")), "nodes")
    assert (outcome, words) == ("refuted", "1 of 2 nodes have told what they are: node1")


def test_a_partition_that_was_not_given_is_refuted(plan):
    evidence = witness(plan())
    other = evidence.environment.model_copy(update={"slurm": {"SLURM_JOB_PARTITION": "cpu"}})
    assert seen(replace(evidence, environment=other), "slurm.partition") == ("refuted", "the job's is cpu")


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("2 ranks were asked for; Launcher and MPI do not speak the same PMI: see …", "refuted"),
        ("No module named 'horovod'", "not checked"),
    ],
)
def test_ranks_that_did_not_meet_refute_the_pmi_only_where_it_is_to_blame(plan, reason, outcome):
    left = make_exit(0, outcome="refused", reason=reason)
    evidence = witness(plan(), environment=None, exits=(left,))
    assert seen(evidence, "slurm.pmi") == (outcome, reason)


def test_where_nobody_needs_a_pmi_it_is_not_proven(plan):
    evidence = witness(plan(engine="ddp"))
    other = evidence.environment.model_copy(update={"engine": "ddp", "transport": "gloo"})
    assert outcomes(replace(evidence, environment=other))["slurm.pmi"] == "not checked"


def test_ranks_in_another_image_refute_it(plan):
    site = {name: part for name, part in SITE.items() if name != "setup"} | {
        "container": {"runtime": "apptainer", "image": "/shared/hpcdl.sif"}
    }
    job = plan(site=site)
    assert outcomes(witness(job))["container.image"] == "proven"
    reason = "software as asked: image /shared/hpcdl.sif by apptainer was asked for, and this rank runs on the host."
    left = make_exit(0, outcome="refused", reason=reason)
    assert seen(witness(job, environment=None, exits=(left,)), "container.image") == ("refuted", reason)


# ---- What was not to be had ----


@pytest.mark.parametrize(
    ("refusal", "entry"),
    [
        ("Slurm refused the job: 'invalid partition specified: gpuu'.", "slurm.partition"),
        (
            "Slurm refused the job: 'Invalid account or account/partition combination specified'.",
            "slurm.account",
        ),
        (
            "Slurm refused the job: 'Requested time limit is invalid (missing or exceeds some limit)'.",
            "slurm.walltime",
        ),
        ("[slurm] pmi, srun --mpi=list: there is no PMI 'pmx'.", "slurm.pmi"),
    ],
)
def test_a_refusal_refutes_what_it_names_and_proves_nothing(plan, refusal, entry):
    evidence = witness(plan(), refusal=refusal, standing=None, environment=None)
    evidence = replace(evidence, looks=())
    found = outcomes(evidence)
    assert (found["job"], found[entry]) == ("refuted", "refuted")
    assert "proven" not in found.values()
    assert found["slurm.memory"] == "not checked"


def test_more_cores_than_sinfo_knows_are_refuted_without_a_job(plan):
    small = replace(FACTS, cores=4)
    evidence = replace(
        witness(plan(), refusal="Slurm refused it.", environment=None, facts=small), looks=(), standing=None
    )
    assert seen(evidence, "node.cores") == ("refuted", "sinfo: the least of the nodes has 4")


def test_a_module_that_cannot_be_loaded_is_refuted_in_the_jobs_own_words(plan):
    evidence = replace(
        witness(plan(), environment=None, said="a module could not be loaded: cuda/13.0"), looks=()
    )
    assert seen(evidence, "setup.modules") == ("refuted", "a module could not be loaded: cuda/13.0")
    assert "proven" not in outcomes(evidence).values()


def test_what_the_script_does_not_use_it_does_not_prove(plan):
    evidence = witness(plan(), environment=None, script="#!/bin/bash\n")
    assert outcomes(evidence)["setup.modules"] == "not checked"


def test_the_last_word_is_the_jobs_and_not_the_scripts_own_report(plan, tmp_path):
    job = plan()
    folder = lay_out(job, script.render(job))
    Path(tmp_path / "runs" / job.run_id / "slurm.out").write_text(
        "hpcdl: run x is job 7\nhpcdl: there is no Python '/opt/python' on node1\nhpcdl: the job ends with 1\n"
    )
    assert read_last_word(folder) == "there is no Python '/opt/python' on node1"


# ---- Told ----


def test_hosts_of_one_machine_are_a_rehearsal(plan):
    same = [look(host, boot_id="one") for host in ("node1", "node2")]
    evidence = witness(plan(), *same)
    told = describe_proofs(prove(evidence), evidence)
    assert told.badges == ("REHEARSAL",)
    assert [note.kind for note in told.notes] == ["rehearsal"]
    evidence = witness(plan())
    assert describe_proofs(prove(evidence), evidence).badges == ()


def test_the_report_counts_what_it_lists(plan):
    evidence = witness(plan(), look("node1"), look("node2", nic_name="eth0"))
    proofs = prove(evidence)
    [table] = describe_proofs(proofs, evidence).sections
    counts = {fact.key: fact.cell for fact in table.facts}
    assert sum(counts.values()) == len(proofs) == len(table.rows)
    assert counts["refuted"] == 1
