"""`hpcdl site` on a real cluster: written from what it tells, proven, and refuted where it is wrong."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from hpcdl import site as sites
from tests.cluster.commands import Person, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    return Person.arrive(shared_dir)


def outcomes(text: str) -> dict[str, str]:
    told: dict[str, Any] = json.loads(text)
    return {row["entry"]: row["outcome"] for row in told["proofs"]}


def test_a_site_file_of_this_cluster_is_written_and_not_written_over(person: Person) -> None:
    file = person.home / "new.toml"
    person.hpcdl("site", "init", "--output", str(file))
    site, _ = sites.load(file)
    assert (site.slurm.partition, site.slurm.pmi) == ("main", "pmix")
    assert site.node.cores
    text = file.read_text()
    assert '# partition = "short"' in text
    assert "4 nodes" in text
    assert "node1 has" in text
    assert "--force" in person.hpcdl("site", "init", "--output", str(file), code=2).stderr
    unknown = person.hpcdl("site", "init", "--output", "-", "--partition", "mian", code=2)
    assert "Did you mean 'main'?" in unknown.stderr


@pytest.mark.horovod
def test_a_check_that_is_left_goes_on_and_proves_each_entry_when_somebody_comes_back(person: Person) -> None:
    child = person.start("site", "check", "--nodes", "2", "--partition", "main", "--pmi", "pmix")
    until(lambda: any(run.submission() for run in person.store.runs()), "the job to be submitted")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    [run] = person.store.runs()
    assert f"hpcdl site check --resume {run.run_id}" in " ".join(err.split())

    done = person.hpcdl("site", "check", "--resume", run.run_id, "--json")
    found = outcomes(done.stdout)
    assert "refuted" not in found.values()
    proven = {entry for entry, outcome in found.items() if outcome == "proven"}
    assert {"job", "nodes", "slurm.partition", "slurm.pmi", "node.cores", "node.network", "store"} <= proven
    assert {"hpcdl", "torch", "horovod"} <= proven
    # Four nodes of one machine, and the report says so.
    assert json.loads(done.stdout)["badges"] == ["REHEARSAL"]
    assert len(person.store.runs()) == 1


def test_what_is_wrong_is_refuted_before_a_job_or_by_the_nodes(person: Person) -> None:
    for flags, entry in {
        ("--pmi", "pmixx"): "slurm.pmi",
        ("--partition", "mian"): "slurm.partition",
        ("--cores", "64"): "node.cores",
        ("--time", "1:00:00", "--partition", "short"): "slurm.walltime",
    }.items():
        found = outcomes(person.hpcdl("site", "check", *flags, "--json", code=1).stdout)
        assert found[entry] == "refuted", flags
        assert "proven" not in found.values()
    assert person.store.runs() == []
    told = person.hpcdl(
        "site", "check", "--network", "hsn0", "--engine", "ddp", "--nodes", "1", "--json", code=1
    )
    found = outcomes(told.stdout)
    assert [entry for entry, outcome in found.items() if outcome == "refuted"] == ["node.network"]
