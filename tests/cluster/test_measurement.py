"""What is measured beside throughput, on a real cluster: links, stragglers, where the time goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import quota
from tests.cluster.commands import Person

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = [pytest.mark.cluster, pytest.mark.horovod, pytest.mark.timeout(600)]

# Enough arithmetic that a rank's own work is more than waiting, on half a core each.
EVEN = [
    "--nodes",
    "4",
    "--model",
    "lenet",
    "--batch",
    "128",
    "--threads",
    "1",
    "--steps",
    "40",
    "--warmup",
    "3",
]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    return Person.arrive(shared_dir)


def probe(person: Person, *asked: str) -> tuple[str, dict[str, Any]]:
    """A probe of all four nodes: what a person reads, and the same facts."""
    person.hpcdl("probe", "--nodes", "4", "--model", "lenet", *asked)
    return person.hpcdl("report").stdout, json.loads(person.hpcdl("report", "--json").stdout)


def test_a_clean_network_is_mapped_and_nobody_named(person: Person) -> None:
    text, facts = probe(person)
    [allreduce], [links] = facts["probes"], facts["links"]
    assert (allreduce["transport"], allreduce["ranks"], allreduce["nodes"]) == ("mpi", 4, 4)
    assert allreduce["rows"][-1]["size_bytes"]["value"] >= allreduce["gradient_bytes"]["value"] == 431_080 * 4
    assert all("value" in row["mpi_s"] for row in allreduce["rows"])
    assert [row["host"] for row in links["rows"]] == ["node1", "node2", "node3", "node4"]
    assert (links["transport"], links["slow_links"], links["suspects"]) == ("mpi", None, None)
    assert "slow network" not in text
    assert "REHEARSAL" in text


def test_without_mpi_the_links_are_mapped_over_gloo(person: Person) -> None:
    _, facts = probe(person, "--pmi", "none", "--engine", "ddp")
    [allreduce], [links] = facts["probes"], facts["links"]
    assert (allreduce["engine"], allreduce["transport"]) == ("ddp", "gloo")
    assert all("missing" in row["mpi_s"] for row in allreduce["rows"])
    assert (links["transport"], links["suspects"]) == ("gloo", None)
    assert [row["host"] for row in links["rows"]] == ["node1", "node2", "node3", "node4"]
    assert links["rows"][0]["to_node4"] == links["rows"][3]["to_node1"]
    assert links["rows"][0]["to_node1"] is None


def test_a_throttled_link_is_named(person: Person, cluster: ModuleType) -> None:
    cluster.slow_link("node3")
    try:
        text, facts = probe(person)
    finally:
        cluster.restore_link("node3")
    assert facts["links"][0]["suspects"] == "node3"
    assert "every link of node3 is slow" in " ".join(text.split())


def test_a_node_without_its_cpu_is_the_straggler(person: Person) -> None:
    quota.slow_cpu("node3")
    try:
        person.hpcdl("submit", *EVEN, "--wait")
    finally:
        quota.restore_cpu("node3")
    facts = json.loads(person.hpcdl("report", "--json").stdout)
    [straggler] = facts["stragglers"]
    assert (straggler["rank"], straggler["host"]) == (2, "node3")
    assert "a CPU quota of 0.2 cores held it back" in straggler["why"]
    [launch] = facts["launches"]
    assert "a CPU quota of 0.2 cores held it back" in launch["images_per_s"]["missing"]


@pytest.mark.dali
def test_where_the_time_goes_on_a_quiet_cluster(person: Person) -> None:
    """Nothing was planted, so nobody is named; every launch of the attribution ran in the one job."""
    flags = ["--data", "digits", "--global-batch", "64", "--threads", "1", "--steps", "40", "--warmup", "3"]
    person.hpcdl("submit", "--nodes", "2", "--model", "lenet", *flags, "--attribution", "--wait")
    facts = json.loads(person.hpcdl("report", "--json", "--force").stdout)
    assert [launch["variant"] for launch in facts["launches"]] == [
        "full",
        "no exchange",
        "resident",
        "synthetic",
    ]
    assert facts["stragglers"] == []
    [probed] = facts["probes"]
    assert probed["ranks"] == 2
    [where] = facts["attribution"]
    assert [row["key"] for row in where["rows"]] == ["compute", "exchange", "input", "other"]
    assert where["verdict"]
    quiet = [launch for launch in facts["launches"] if "value" in launch["images_per_s"]]
    if len(quiet) == 4:  # two cores under two ranks are not always steady; then it is withheld, and says why
        shares = [row["share"]["value"] for row in where["rows"]]
        assert sum(shares) == pytest.approx(1.0)
    else:
        assert "cannot be told" in where["verdict"]
