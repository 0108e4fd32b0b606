"""The batch script and hpcdl.slurm against a real Slurm."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from hpcdl import script, slurm
from hpcdl.errors import RefusedJob
from hpcdl.slurm import JobState, State, client
from tests.cluster import layout
from tests.golden.jobs import make_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hpcdl.plan import Job

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("cluster")]

HOSTILE = [
    "plain",
    "a b  c",
    "a#b # c",
    'it\'s "quoted"',
    "back\\slash \\\\ \\n \\",
    "$(touch CANARY) `touch CANARY` $HOME ${HOME}",
    "; touch CANARY & | && > <",
    "%j %% %x",
    "naïve — 数",
    "a,b=c:d --partition=nope",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
]


def await_end(job_id: int, done: Callable[[JobState], bool] = lambda state: state.is_over) -> JobState:
    """Where a job stands as soon as that is what `done` waits for; the test's own time limit is the limit."""
    while True:
        state = slurm.states([job_id]).get(job_id)
        if state is not None and (done(state) or state.is_over):
            return state
        time.sleep(0.2)


def await_file(path: Path, job_id: int) -> None:
    while not path.exists():
        assert not slurm.states([job_id])[job_id].is_over
        time.sleep(0.1)


# ---- What Slurm says -------------------------------------------------------------------------------------------


def test_slurm_says_what_it_is() -> None:
    assert slurm.is_here()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", slurm.version())
    assert {"none", "pmix"} <= set(slurm.pmi_types())
    assert slurm.accounting_is_on()


def test_nodes_are_as_they_were_configured() -> None:
    facts = slurm.node_facts()
    assert facts is not None
    assert (facts.partition, facts.nodes) == ("main", len(layout.NODES))
    assert (facts.cores, facts.gpus) == (layout.CPUS_PER_NODE, layout.GPUS_PER_NODE)
    short = slurm.node_facts("short")
    assert short is not None
    assert short.max_walltime_s == 120
    assert slurm.node_facts("nowhere") is None


@pytest.mark.parametrize(
    "site", [{}, {"node": {"gpus": 2, "cores": 2}}, {"slurm": {"memory": "500M", "pmi": "none"}}]
)
def test_scripts_are_accepted(site: dict[str, Any]) -> None:
    said = slurm.test(script.render(make_job(site=site, nodes=(1, 2, 4), walltime_s=600)))
    assert "to start at" in said


@pytest.mark.parametrize(
    ("wrong", "words", "advice"),
    [
        ({"partition": "nope"}, "partition", "Partitions here: main, short."),
        ({"account": "nope"}, "Invalid account", "Your accounts on this cluster: bench"),
        ({"options": {"gres": "gpu:99"}}, "not available", ""),
        ({"constraint": "nope"}, "Invalid feature", ""),
        ({"dependency": "nope"}, "dependency", ""),
    ],
)
def test_refusals_carry_slurms_words(wrong: dict[str, Any], words: str, advice: str) -> None:
    with pytest.raises(RefusedJob) as refused:
        slurm.test(script.render(make_job(site={"slurm": wrong}, walltime_s=600)))
    assert words in refused.value.what
    assert advice in refused.value.do


@pytest.mark.parametrize("value", HOSTILE)
def test_values_reach_slurm_as_they_were_written(value: str, shared_dir: Path) -> None:
    job = make_job(site={"slurm": {"options": {"comment": value, "hold": True}}}, walltime_s=600, nodes=(1,))
    done = subprocess.run(
        ["sbatch", "--parsable"],
        input=script.render(job).encode(),
        cwd=shared_dir,
        capture_output=True,
        check=True,
    )
    job_id = done.stdout.decode().strip()
    seen = subprocess.run(
        ["squeue", "--noheader", f"--jobs={job_id}", "--format=%k"], capture_output=True, check=True
    )
    assert seen.stdout.decode().rstrip("\n") == value
    assert list(shared_dir.iterdir()) == []


# ---- A job's life ----------------------------------------------------------------------------------------------

# Stands in for hpcdl's Python: lays the folder out, is a sampler that ends on USR2, or is a rank that says who it is
# and then waits, as long as `hold` lies in the run's folder. It closes its record on USR2, and needs a moment for it;
# the TERM that srun sends to all as soon as the first has left (--kill-on-bad-exit) finds it busy with that.
PYTHON = """#!/bin/bash
if [ "$2" = hpcdl.worker.opening ]; then
    grep -q '"run_id"' && mkdir -p {run_dir}/{launches}
    exit
fi
if [ "$2" = hpcdl.power.sampler ]; then
    sampler="$3/sampler-$SLURM_PROCID"
    trap 'echo closed >>"$sampler"; exit 0' USR2
    echo "$SLURMD_NODENAME $SLURM_STEP_NUM_TASKS $SLURM_CPUS_PER_TASK" >"$sampler"
    while :; do sleep 0.1; done
fi
rank="$3/rank-$SLURM_PROCID"
trap 'trap "" TERM; sleep 1; echo closed >>"$rank"; exit 9' USR2
echo "$SLURMD_NODENAME $SLURM_STEP_NUM_TASKS $SLURM_CPUS_PER_TASK $SLURM_LOCALID $GREETING" >"$rank"
while [ -e "$3/../hold" ]; do sleep 0.1; done
"""


class Run:
    """A run in a folder whose name is hard to quote, made by the script alone or beforehand."""

    def __init__(self, folder: Path, **shape: Any) -> None:
        self.folder = folder / 'it\'s 100% $(touch CANARY) "here" #1'
        self.folder.mkdir()
        self.run_dir = self.folder / "run"
        python = self.folder / "python"
        site = {"slurm": {"pmi": "none"}, "setup": {"environment": {"GREETING": "$(hostname) it's"}}}
        self.job: Job = make_job(
            site=site,
            run_dir=str(self.run_dir),
            python=str(python),
            walltime_s=300,
            run_id=folder.name,
            **shape,
        )
        launches = "{" + ",".join(launch.name for launch in self.job.launches) + ",}"
        python.write_text(PYTHON.format(run_dir=script.quote(str(self.run_dir)), launches=launches))
        python.chmod(0o755)
        self.script = self.run_dir / "script.sbatch"

    def submit(self, *, hold: bool = False) -> int:
        self.run_dir.mkdir()
        if hold:
            (self.run_dir / "hold").touch()
        self.script.write_text(script.render(self.job))
        return slurm.submit(self.script)

    def ranks(self, index: int, kind: str = "rank") -> list[str]:
        folder = self.run_dir / self.job.launches[index].name
        return sorted(path.read_text().strip() for path in folder.glob(f"{kind}-*"))

    @property
    def said(self) -> str:
        return (self.run_dir / "slurm.out").read_text()


def test_launches_have_the_shape_that_was_planned(shared_dir: Path) -> None:
    run = Run(shared_dir, nodes=(1, 2, 4), tasks_per_node=2, bracket=False, probe="never")
    job_id = run.submit()
    assert slurm.find_by_name(script.job_name(run.job)) == job_id
    state = await_end(job_id)
    assert (state.state, state.exit_code, state.signal) == (State.COMPLETED, 0, None), run.said
    for index, nodes in enumerate((1, 2, 4)):
        seen = [line.split(" ", 4) for line in run.ranks(index)]
        assert len(seen) == 2 * nodes
        assert len({node for node, *_ in seen}) == nodes
        assert {tuple(rest) for _, *rest in seen} == {
            (str(2 * nodes), "1", local, "$(hostname) it's") for local in "01"
        }
        # One sampler on each node that has ranks, and it was told when they had ended. A rank that ends at once may
        # leave before its node's sampler has begun.
        samplers = [text.split() for text in run.ranks(index, "sampler")]
        assert {words[0] for words in samplers} <= {node for node, *_ in seen}
        assert {tuple(words[1:]) for words in samplers} <= {(str(nodes), "2", "closed")}
    assert "the job ends with 0" in run.said
    assert not list(shared_dir.rglob("CANARY"))


def test_a_script_that_is_piped_to_sbatch_brings_its_own_folder(shared_dir: Path) -> None:
    run = Run(shared_dir, nodes=(1,))
    done = subprocess.run(
        ["sbatch", "--parsable"],
        input=script.render(run.job).encode(),
        cwd=shared_dir,
        capture_output=True,
        check=True,
    )
    job_id = int(done.stdout)
    assert await_end(job_id).state is State.COMPLETED
    assert len(run.ranks(0)) == 1
    assert "launch 001-lenet-1n ended with 0" in run.said
    assert "its folder is" in (shared_dir / f"slurm-{job_id}.out").read_text()


def test_the_signal_before_the_walltime_lets_every_rank_close_its_record(shared_dir: Path) -> None:
    run = Run(shared_dir, nodes=(2, 1), probe="never")
    job_id = run.submit(hold=True)
    await_file(run.run_dir / run.job.launches[0].name / "rank-1", job_id)
    subprocess.run(["scancel", "--batch", "--signal=USR2", str(job_id)], check=True)
    state = await_end(job_id)
    assert (state.state, state.exit_code) == (State.FAILED, 128 + 12), run.said
    assert [line.endswith("closed") for line in run.ranks(0)] == [True, True]
    assert run.ranks(1) == []
    assert "002-lenet-1n is left out" in run.said


def test_a_job_is_seen_running_and_cancelled(shared_dir: Path) -> None:
    run = Run(shared_dir, nodes=(4,))
    job_id = run.submit(hold=True)
    running = await_end(job_id, lambda state: state.state is State.RUNNING)
    assert (running.nodes, running.exit_code) == ("node[1-4]", None)
    slurm.cancel(job_id)
    ended = await_end(job_id)
    assert ended.state is State.CANCELLED
    assert ended.word.startswith("CANCELLED")
    slurm.cancel(job_id)


def test_a_waiting_job_says_why(shared_dir: Path) -> None:
    first, second = Run(shared_dir, nodes=(4,)), shared_dir / "second.sbatch"
    first_id = first.submit(hold=True)
    await_end(first_id, lambda state: state.state is State.RUNNING)
    second.write_text("#!/bin/bash\n#SBATCH --nodes=4 --exclusive --time=5\n")
    second_id = slurm.submit(second)
    waiting = await_end(second_id, lambda state: bool(state.reason))
    assert waiting.state is State.PENDING
    assert waiting.reason in {"Priority", "Resources"}
    assert slurm.states([first_id, second_id, 999_999]).keys() == {first_id, second_id}


def test_exit_code_and_signal_are_the_batch_scripts(shared_dir: Path) -> None:
    ids = []
    for name, line in (("code", "exit 3"), ("signal", "kill -KILL $$")):
        path = shared_dir / f"{name}.sbatch"
        path.write_text(f"#!/bin/bash\n{line}\n")
        ids.append(slurm.submit(path, output=shared_dir / f"{name}.out"))
    code, killed = (await_end(job_id) for job_id in ids)
    assert (code.state, code.exit_code, code.signal) == (State.FAILED, 3, None)
    assert (killed.exit_code, killed.signal) == (0, 9)


def test_without_accounting_a_job_is_followed_all_the_same(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The programs of a site without accounting: the same Slurm, whose sacct has nobody to ask.
    configuration = tmp_path / "slurm.conf"
    text = layout.SLURM_CONF.read_text()
    configuration.write_text(
        re.sub(r"(?m)^AccountingStorage.*$", "", text) + "AccountingStorageType=accounting_storage/none\n"
    )
    shutil.copy(layout.CONFIG / "gres.conf", tmp_path)
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    monkeypatch.setattr(client, "_sacct", client._Sacct())
    path = shared_dir / "three.sbatch"
    path.write_text("#!/bin/bash\nexit 3\n")
    job_id = slurm.submit(path)
    assert await_end(job_id).exit_code == 3
    assert slurm.find_by_name("nobody's") is None
    assert client._ask_scontrol(job_id) == slurm.states([job_id])[job_id]
