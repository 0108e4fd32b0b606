"""Acceptances as they are kept, with what their nodes left behind."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

from hpcdl.acceptance.folder import Acceptance, Joined, lay_out
from hpcdl.checks import Checked
from hpcdl.durable import publish_record
from hpcdl.records import Submission
from hpcdl.site import Site
from tests.unit.checks_maker import check_launch, write_acceptance_run, write_healthy
from tests.unit.fleets import make_suite, name_nodes

ACCEPT_ID = "20261201-075500-acc0"
BEGUN = datetime(2026, 12, 1, 7, 55, tzinfo=UTC)
CRITERIA = (
    {"name": "finished", "metric": "node.finished", "at_least": 1, "why": "a node that is lost is no node"},
    {"name": "same-kernel", "metric": "identity.kernel", "equals": "fleet"},
    {"name": "same-software", "metric": "identity.versions", "equals": "fleet"},
    {"name": "same-arithmetic", "metric": "arithmetic.lenet.digest", "equals": "fleet"},
    {"name": "lenet-speed", "metric": "train.lenet.images_per_s", "at_least": "80 %", "of": "fleet"},
    {"name": "matrix-speed", "metric": "matrix.flops_per_s", "at_least": "0.5 TFLOP/s"},
    {
        "name": "no-throttling",
        "metric": "health.throttled_s",
        "at_most": "0.5 s",
        "where_present": True,
    },
)
# Between repeats the same node is not exactly as fast; between nodes neither.
SCATTER = (0.99, 1.0, 1.012)


def make_asked(accept_id=ACCEPT_ID, suite=None, **changes):
    suite = suite or make_suite(*CRITERIA, reruns=0).model_copy(
        update={"name": "tiny", "about": "A suite for tests."}
    )
    usual = {
        "accept_id": accept_id,
        "created_utc": BEGUN,
        "suite": suite,
        "suite_file": "tiny.toml",
        "suite_digest": suite.digest,
        "executor": "slurm",
        "nodes": 4,
        "site": Site(name="juno"),
        "hpcdl": "0.1.0",
    }
    return Acceptance(**usual | changes)


def write_acceptance(root, *, nodes=8, changes=None, rates=None, accept_id=ACCEPT_ID, suite=None, here=False):
    """An acceptance of one job; `rates`: node -> how fast it trains, of 1; `changes` as write_healthy takes them.

    `here`: its job was a process of this machine, which has left.
    """
    names = name_nodes(nodes)
    folder = lay_out(make_asked(accept_id, suite, nodes=nodes), root)
    folder.add(folder.fleet_path, [Joined(node=name, joined_utc=BEGUN) for name in names])
    run = write_acceptance_run(folder.path / "runs", nodes=nodes, run_id="20261201-080000-job1")
    publish_record(run.submission_path, _submit(here=here))
    write_healthy(run, names, boot(names) | (changes or {}))
    _scatter(run, names, rates or {})
    return folder


def _submit(*, here):
    if here:
        return Submission(pid=1, process_start="never", host=socket.gethostname(), submitted_utc=BEGUN)
    return Submission(slurm_job_id=4711, host="login1", submitted_utc=BEGUN)


def boot(names):
    """Each node is a machine of its own."""
    return {name: {"identity": {"words": {"boot_id": f"boot-{name}"}}} for name in names}


def _scatter(run, names, rates):
    """Timed numbers that differ from repeat to repeat, as real ones do."""
    _, folder = check_launch(run)
    for place, name in enumerate(names):
        path = folder.checks_path(name)
        looks = [Checked.model_validate_json(line) for line in path.read_bytes().splitlines()]
        scattered = [_change(look, place, rates.get(name, 1.0)) for look in looks]
        path.write_text("".join(f"{look.model_dump_json()}\n" for look in scattered))


def _change(look, place, rate):
    if look.check not in {"train", "matrix"}:
        return look
    factor = SCATTER[(look.repeat + place) % 3] * (rate if look.check == "train" else 1.0)
    return look.model_copy(update={"numbers": {key: value * factor for key, value in look.numbers.items()}})
