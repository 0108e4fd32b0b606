"""`hpcdl doctor --nodes`: a real job looks at the nodes; one that does not answer is named."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cluster.commands import Person

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    """With the sources that are tested on the nodes, where this process has them by PYTHONPATH."""
    person = Person.arrive(shared_dir)
    sources = os.environ.get("PYTHONPATH")
    if sources:
        with (shared_dir / "site.toml").open("a") as site:
            site.write(f"PYTHONPATH = {json.dumps(sources)}\n")
    return person


def test_nodes_are_looked_at_and_one_that_does_not_answer_is_named(person: Person) -> None:
    done = person.hpcdl("doctor", "--nodes", "2", "--json")
    facts = json.loads(done.stdout)
    assert (facts["kind"], facts["badges"]) == ("doctor", ["REHEARSAL"])
    assert [row["host"] for row in facts["nodes"]] == ["node1", "node2"]
    assert all(row["cores"] > 0 and row["gpus"] == 0 for row in facts["nodes"])
    assert all(json.loads(row["versions"])["torch"] for row in facts["nodes"])
    assert facts["numa"][0]["rows"][0]["cpus"]
    assert "RUNNING" in done.stderr or "COMPLETED" in done.stderr
    [launch] = person.store.find("last").launches()
    assert {node.host for node in launch.topologies()} == {"node1", "node2"}

    # On one of them torch is broken.
    (person.home / "broken").mkdir()
    (person.home / "broken" / "torch.py").write_text("raise ImportError('torch is broken here')\n")
    python = person.home / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$(hostname)" != node2 ] || PYTHONPATH={person.home}/broken:$PYTHONPATH\n'
        f'export PYTHONPATH\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    site = person.home / "site.toml"
    site.write_text(site.read_text().replace("[setup.env", f'[setup]\npython = "{python}"\n[setup.env'))
    broken = person.hpcdl("doctor", "--nodes", "2", code=1)
    assert "1 of 2 nodes answered" in broken.stdout
    assert re.search("node2 did not answer: rank 1 failed.*ImportError: torch is broken here", broken.stdout)
    assert "1 of 2 nodes did not answer: node2" in broken.stderr

    again = person.hpcdl("doctor", "--run", "last", code=1)
    assert again.stdout == broken.stdout
