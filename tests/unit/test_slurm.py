"""Slurm's words, as recorded from Slurm 22.05 and as `man` spells them; and its programs when they go wrong."""

from __future__ import annotations

import os
import stat
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import slurm
from hpcdl.errors import Failure, Mistake, RefusedJob
from hpcdl.slurm import Ambiguous, State, Unreachable, client, commands, nodes, words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# ---- Recorded from Slurm 22.05.8 -------------------------------------------------------------------------------

SQUEUE = """\
22|PENDING|0|0:00|2026-11-22T09:49:47||Resources|
21|RUNNING|0|0:01|2026-11-22T09:44:47|node[1-4]|None|
23|FAILED|768|0:01|2026-11-22T09:45:26|node1|NonZeroExitCode|
24|FAILED|9|0:01|2026-11-22T09:45:26|node1|JobLaunchFailure|
25|PENDING|0|0:00|N/A||JobHeldUser|
9|TIMEOUT|0|1:05|2026-11-22T09:42:41|node[1-2]|TimeLimit|
"""
SACCT = """\
9|TIMEOUT|0:0|65|2026-11-22T09:42:41|node[1-2]|None
5|CANCELLED by 0|0:0|17|2026-11-22T09:42:18|node[1-2]|None
23|FAILED|3:0|1|2026-11-22T09:45:26|node1|None
24|FAILED|0:9|1|2026-11-22T09:45:26|node1|None
"""
SCONTROL = (
    "JobId=21 JobName=JobState=RUNNING UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901742 Nice=0 "
    "Account=bench QOS=normal JobState=CANCELLED Reason=None Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 "
    "Reboot=0 ExitCode=0:15 RunTime=00:00:01 TimeLimit=00:05:00 TimeMin=N/A SubmitTime=2026-11-22T09:44:44 "
    "StartTime=2026-11-22T09:44:47 EndTime=2026-11-22T09:44:48 Deadline=N/A Partition=main "
    "AllocNode:Sid=localhost:7992 ReqNodeList=(null) ExcNodeList=(null) NodeList=node[1-4] BatchHost=node1 "
    "NumNodes=4 Command=/tmp/s.sh WorkDir=/shared Comment=a JobState=PENDING ExitCode=7:7 Power= \n"
)
SINFO = "main*|4|2|gpu:2|infinite|2:1:1\nshort|4|2|gpu:2|2:00|2:1:1\n"
MPI_LIST = (
    "MPI plugin types are...\n\tpmix\n\tnone\n\tcray_shasta\n\tpmi2\n"
    "specific pmix plugin versions available: pmix_v4\n"
)
MPI_LIST_OLD = "srun: MPI types are...\nsrun: none\nsrun: pmi2\nsrun: pmix\nsrun: pmix_v3\n"


def test_squeue_gives_every_job_of_one_answer() -> None:
    jobs = words.read_squeue(SQUEUE)
    assert {job_id: job.state for job_id, job in jobs.items()} == {
        22: State.PENDING,
        21: State.RUNNING,
        23: State.FAILED,
        24: State.FAILED,
        25: State.PENDING,
        9: State.TIMEOUT,
    }
    assert (jobs[22].reason, jobs[22].nodes, jobs[22].exit_code) == ("Resources", "", None)
    assert (jobs[21].reason, jobs[21].nodes, jobs[21].elapsed_s) == ("", "node[1-4]", 1)
    assert (jobs[23].exit_code, jobs[23].signal) == (3, None)
    assert (jobs[24].exit_code, jobs[24].signal) == (0, 9)
    assert jobs[25].start is None
    assert jobs[9].elapsed_s == 65


def test_an_estimated_start_is_an_instant() -> None:
    start = words.read_squeue(SQUEUE)[22].start
    assert start is not None
    assert start.tzinfo is not None
    assert start.replace(tzinfo=None).isoformat() == "2026-11-22T09:49:47"


def test_sacct_gives_exit_codes_and_who_cancelled() -> None:
    jobs = words.read_sacct(SACCT)
    assert (jobs[5].state, jobs[5].word, jobs[5].elapsed_s) == (State.CANCELLED, "CANCELLED by 0", 17)
    assert (jobs[23].exit_code, jobs[23].signal) == (3, None)
    assert (jobs[24].exit_code, jobs[24].signal) == (0, 9)


def test_scontrol_is_read_by_its_first_words_and_not_by_what_a_comment_says() -> None:
    job = words.read_scontrol(SCONTROL)
    assert job is not None
    assert (job.state, job.exit_code, job.signal, job.nodes) == (State.CANCELLED, 0, 15, "node[1-4]")
    assert (job.elapsed_s, job.reason) == (1, "")


@pytest.mark.parametrize("text", ["", "slurm_load_jobs error: Invalid job id specified\n", "JobId=3\n"])
def test_scontrol_without_a_job_is_nothing(text: str) -> None:
    assert words.read_scontrol(text) is None


def test_what_is_no_row_is_passed_over() -> None:
    noise = "CLUSTER: juno\n\nWelcome to juno!|a|b|c|d|e|f\n21.batch|RUNNING|0:0|1|x|y|z\n21_4|RUNNING|0|1|x|y|z|\n"
    assert words.read_squeue(noise) == {}
    assert words.read_sacct(noise + SACCT).keys() == {5, 9, 23, 24}


@given(st.text())
def test_no_text_at_all_upsets_the_readers(text: str) -> None:
    for line in (text, f"7|{text}", f"7|RUNNING|0|0:01|{text}|node1|None|", f"7|FAILED|{text}|{text}|x|y|z"):
        for job in (*words.read_squeue(line).values(), *words.read_sacct(line).values()):
            assert isinstance(job.state, State)
    words.read_scontrol(f"JobState={text} ExitCode={text} RunTime={text}")
    nodes.read_sinfo(text, None)
    nodes.read_gres(text)
    nodes.read_pmi_types(text)


# ---- The table of states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CANCELLED by 1000", State.CANCELLED),
        ("CANCELLED+", State.CANCELLED),
        ("OUT_OF_ME+", State.FAILED),
        ("COMPLETI+", State.ENDING),
        ("COMPLET+", State.UNKNOWN),  # may be either
        ("NODE_FAIL", State.LOST),
        ("PREEMPTED", State.LOST),
        ("BOOT_FAIL", State.LOST),
        ("DEADLINE", State.TIMEOUT),
        ("REQUEUED", State.PENDING),
        ("completed", State.COMPLETED),
        ("SOMETHING_NEW", State.UNKNOWN),
        ("", State.UNKNOWN),
    ],
)
def test_words_of_slurm(word: str, state: State) -> None:
    assert words.read_word(word) is state


def test_a_job_is_over_only_by_a_word_that_says_so() -> None:
    over = {word for word, state in words.WORDS.items() if state.is_over}
    assert over == {
        "COMPLETED",
        "FAILED",
        "LAUNCH_FAILED",
        "OUT_OF_MEMORY",
        "RECONFIG_FAIL",
        "CANCELLED",
        "REVOKED",
        "DEADLINE",
        "TIMEOUT",
        "BOOT_FAIL",
        "NODE_FAIL",
        "PREEMPTED",
    }
    assert not State.UNKNOWN.is_over


@given(code=st.integers(0, 255), number=st.integers(1, 64))
def test_exit_codes_are_the_same_from_wait_status_and_from_text(code: int, number: int) -> None:
    assert words.read_exit_code(f"{code}:0") == words.read_exit_code(str(code << 8)) == (code, None)
    assert words.read_exit_code(f"0:{number}") == words.read_exit_code(str(number)) == (0, number)


@given(st.integers(0, 40), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_elapsed_time_in_all_its_forms(days: int, hours: int, minutes: int, seconds: int) -> None:
    clock = f"{minutes:02d}:{seconds:02d}"
    assert words.read_elapsed_s(clock) == minutes * 60 + seconds
    assert words.read_elapsed_s(f"{hours:02d}:{clock}") == hours * 3600 + minutes * 60 + seconds
    assert (
        words.read_elapsed_s(f"{days}-{hours:02d}:{clock}")
        == days * 86400 + hours * 3600 + minutes * 60 + seconds
    )


# ---- Nodes -----------------------------------------------------------------------------------------------------


def test_the_default_partition_is_found_by_its_star() -> None:
    facts = nodes.read_sinfo(SINFO, None)
    assert facts is not None
    assert (facts.partition, facts.nodes, facts.cores, facts.gpus) == ("main", 4, 2, 2)
    assert facts.max_walltime_s is None


def test_a_named_partition_has_its_own_limit() -> None:
    facts = nodes.read_sinfo(SINFO, "short")
    assert facts is not None
    assert (facts.is_default, facts.max_walltime_s) == (False, 120)


def test_nodes_that_differ_offer_the_least_of_them() -> None:
    facts = nodes.read_sinfo(
        "gpu*|3|64|gpu:a100:4(S:0-1)|1-00:00:00|2:32:1\ngpu*|2|96+|(null)|1-00:00:00|2:24+:2\n", None
    )
    assert facts == nodes.NodeFacts("gpu", True, 5, 48, 1, 0, "a100", 86400)  # noqa: FBT003


@pytest.mark.parametrize(
    ("cpus", "shape", "cores", "threads"),
    [
        (128, "2:32:2", 64, 2),
        (64, "2:32:1", 64, 1),
        (64, "2:32:2", 64, 1),  # the site counts cores as CPUs: nobody gets the second threads
        (4, "4:1:1", 4, 1),
        (2, "0:0:0", 2, 1),
    ],
)
def test_a_core_runs_the_hardware_threads_that_slurm_gives(
    cpus: int, shape: str, cores: int, threads: int
) -> None:
    facts = nodes.read_sinfo(f"main*|4|{cpus}|(null)|infinite|{shape}\n", None)
    assert facts is not None
    assert (facts.cores, facts.threads_per_core) == (cores, threads)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "main*|4|2|gpu:2|infinite",
        "main*|n/a|2|gpu:2|infinite|2:1:1",
        "main*|4|2|gpu:2|infinite|1",
    ],
)
def test_sinfo_without_the_partition_is_nothing(text: str) -> None:
    assert nodes.read_sinfo(text, None) is None


@pytest.mark.parametrize(
    ("gres", "gpus", "kind"),
    [
        ("(null)", 0, None),
        ("", 0, None),
        ("gpu:2", 2, None),
        ("gpu:a100:4(S:0-1)", 4, "a100"),
        ("gpu:a100:4(S:0,1),nvme:1", 4, "a100"),
        ("nvme:2,gpu:h100:8", 8, "h100"),
        ("gpu:a100:2,gpu:v100:1(S:0)", 3, "a100"),
        ("gpu:1g.5gb:7", 7, "1g.5gb"),
        ("gpu:h100:no_consume:4", 4, "h100"),
        ("gpu:no_consume:4", 4, None),
        ("shard:40,mps:gpu:100", 0, None),
    ],
)
def test_gpus_of_a_node(gres: str, gpus: int, kind: str | None) -> None:
    assert nodes.read_gres(gres) == (gpus, kind)


def test_pmi_types_new_and_old() -> None:
    assert nodes.read_pmi_types(MPI_LIST) == ("pmix", "none", "cray_shasta", "pmi2", "pmix_v4")
    assert nodes.read_pmi_types(MPI_LIST_OLD) == ("none", "pmi2", "pmix", "pmix_v3")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("AccountingStorageType   = accounting_storage/slurmdbd\n", True),
        ("A = b\nAccountingStorageType   = accounting_storage/none\n", False),
        ("AccountingStorageType   = (null)\n", False),
        ("", False),
    ],
)
def test_whether_accounts_are_kept(text: str, kept: bool) -> None:  # noqa: FBT001
    assert nodes.keeps_accounts(text) is kept


# ---- Asking ----------------------------------------------------------------------------------------------------


def test_waits_grow_to_their_limit_and_stay() -> None:
    assert list(islice(slurm.waits_s(first_s=1, longest_s=5, growth=2), 5)) == [1, 2, 4, 5, 5]
    assert list(islice(slurm.waits_s(longest_s=0.1), 3)) == [0.1, 0.1, 0.1]


def test_options_in_the_environment_are_not_passed_on() -> None:
    given_environment = {
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_CLUSTERS": "juno",
        "SLURM_JOB_ID": "1",
        "SBATCH_PARTITION": "nonsense",
        "SQUEUE_FORMAT": "%i",
        "SLURMISH": "x",
        "HOME": "/root",
    }
    assert commands.clean_environment(given_environment) == {
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_CLUSTERS": "juno",
        "SLURMISH": "x",
        "HOME": "/root",
        "LC_ALL": "C",
    }


def test_words_are_cleared_of_program_names() -> None:
    said = "sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition name specified\n"
    assert (
        commands.clean_words(said)
        == "invalid partition specified: nope; allocation failure: Invalid partition name specified"
    )


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts stand-ins for Slurm's programs on PATH, and nothing else of Slurm; each appends its words to `asked`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr(client, "_sacct", client._Sacct())
    for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "srun"):
        if os.access(f"/bin/{name}", os.X_OK):
            (folder / name).write_text("#!/bin/bash\necho no stand-in >&2; exit 1\n")
            (folder / name).chmod(0o755)

    def write(name: str, body: str) -> None:
        path = folder / name
        path.write_text(f'#!/bin/bash\necho {name} "$@" >>{tmp_path}/asked\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


def asked(tmp_path: Path) -> list[str]:
    return (tmp_path / "asked").read_text().splitlines()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "a 100% run" / "script.sbatch"
    path.parent.mkdir()
    path.write_text("#!/bin/bash\n")
    return path


def test_no_slurm_here_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm.is_here()
    with pytest.raises(Mistake, match=r"no Slurm on this machine.*hpcdl run"):
        slurm.test("")
    assert slurm.node_facts() is None
    assert slurm.pmi_types() == ()
    assert not slurm.accounting_is_on()


def test_submission_names_output_and_script(
    put: Callable[[str, str], None], script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CLUSTERS", "juno")
    put("sbatch", "pwd >&2; echo '123;juno'")
    assert slurm.submit(script) == 123
    output = str(script.with_name("slurm.out")).replace("%", "%%")
    assert asked(tmp_path) == [f"sbatch --parsable --output={output} {script}"]


def test_sbatch_variables_do_not_reach_sbatch(
    put: Callable[[str, str], None], script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "nonsense")
    put("sbatch", 'echo "${SBATCH_PARTITION:-77}"')
    assert slurm.submit(script) == 77


def test_what_a_site_prints_before_the_id_is_passed_over(
    put: Callable[[str, str], None], script: Path
) -> None:
    put("sbatch", "echo Thank you for using juno.; echo 5")
    assert slurm.submit(script) == 5


def test_a_refusal_carries_slurms_own_words(put: Callable[[str, str], None], script: Path) -> None:
    put("sbatch", "echo 'sbatch: error: Batch job submission failed: Job dependency problem' >&2; exit 1")
    with pytest.raises(RefusedJob) as refused:
        slurm.submit(script)
    assert refused.value.what == "Slurm refused the job: 'Job dependency problem'."
    assert refused.value.exit_code == 2


def test_a_refused_account_is_answered_with_those_there_are(put: Callable[[str, str], None]) -> None:
    put(
        "sbatch",
        "echo 'allocation failure: Invalid account or account/partition combination specified' >&2; exit 1",
    )
    put("sacctmgr", "printf 'hpc\\nml\\nhpc\\n'")
    with pytest.raises(RefusedJob, match=r"Your accounts on this cluster: hpc, ml\."):
        slurm.test("#!/bin/bash\n")


def test_a_refused_partition_is_answered_with_those_there_are(put: Callable[[str, str], None]) -> None:
    put("sbatch", "echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1")
    put("sinfo", "printf 'short\\nmain\\n'")
    with pytest.raises(RefusedJob, match=r"nope'\. Partitions here: main, short\."):
        slurm.test("#!/bin/bash\n")


def test_advice_that_cannot_be_had_is_left_out(put: Callable[[str, str], None]) -> None:
    put("sbatch", "echo 'allocation failure: Invalid account' >&2; exit 1")
    put("sacctmgr", "exit 1")
    with pytest.raises(RefusedJob) as refused:
        slurm.test("#!/bin/bash\n")
    assert refused.value.do == ""


def test_slurms_sentence_on_when_and_where(put: Callable[[str, str], None]) -> None:
    put("sbatch", 'read -r first; [ "$first" = "#!/bin/bash" ] && echo "sbatch: Job 28 to start at noon" >&2')
    assert slurm.test("#!/bin/bash\n") == "Job 28 to start at noon"


@pytest.mark.parametrize("hang", ["sleep 600", "sleep 600 & wait"])
def test_an_sbatch_that_accepts_and_then_hangs_is_ambiguous(
    put: Callable[[str, str], None], script: Path, hang: str
) -> None:
    """The second: a site's wrapper, whose child keeps the pipe open."""
    put("sbatch", hang)
    put("squeue", "echo 41; echo 42")
    with pytest.raises(Ambiguous, match="has not answered"):
        slurm.submit(script, timeout_s=0.5)
    assert slurm.find_by_name("hpcdl-x") == 42


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Unable to contact slurm controller (connect failure)", Unreachable),
        ("Socket timed out on send/recv operation", Ambiguous),
        ("Zero Bytes were transmitted or received", Ambiguous),
    ],
)
def test_a_lost_answer_is_not_a_lost_question(
    put: Callable[[str, str], None], script: Path, said: str, error: type[Failure]
) -> None:
    put("sbatch", f"echo 'sbatch: error: Batch job submission failed: {said}' >&2; exit 1")
    with pytest.raises(Unreachable) as problem:
        slurm.submit(script)
    assert type(problem.value) is error
    assert problem.value.exit_code == 1


def test_an_answer_without_an_id_is_ambiguous(put: Callable[[str, str], None], script: Path) -> None:
    put("sbatch", "echo Welcome")
    with pytest.raises(Ambiguous, match="Welcome"):
        slurm.submit(script)


def test_a_store_with_a_backslash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="backslash"):
        slurm.submit(tmp_path / "a\\b" / "script.sbatch")


def test_a_job_is_looked_for_in_the_accounts_when_it_has_left_the_queue(
    put: Callable[[str, str], None],
) -> None:
    put("squeue", "exit 0")
    put("sacct", "echo 7")
    assert slurm.find_by_name("hpcdl-x") == 7
    put("sacct", "exit 1")
    assert slurm.find_by_name("hpcdl-x") is None


def test_states_ask_squeue_once_for_all(put: Callable[[str, str], None], tmp_path: Path) -> None:
    put("squeue", f"cat <<'EOF'\n{SQUEUE}EOF")
    found = slurm.states([21, 22, 9])
    assert {job_id: found[job_id].state for job_id in (21, 22, 9)} == {
        21: State.RUNNING,
        22: State.PENDING,
        9: State.TIMEOUT,
    }
    assert len(asked(tmp_path)) == 1
    assert "--jobs=9,21,22" in asked(tmp_path)[0]


def test_no_jobs_ask_nobody(put: Callable[[str, str], None], tmp_path: Path) -> None:
    put("squeue", "exit 1")
    assert slurm.states([]) == {}
    assert not (tmp_path / "asked").exists()


def test_what_squeue_has_forgotten_is_in_the_accounts(
    put: Callable[[str, str], None], tmp_path: Path
) -> None:
    put("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    put("sacct", f"cat <<'EOF'\n{SACCT}EOF")
    assert slurm.states([9])[9].word == "TIMEOUT"
    assert [line.split()[0] for line in asked(tmp_path)] == ["squeue", "sacct"]


def test_without_accounting_scontrol_is_asked(put: Callable[[str, str], None]) -> None:
    put("squeue", "exit 0")
    put("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    put("scontrol", f"cat <<'EOF'\n{SCONTROL}EOF")
    assert slurm.states([21])[21].state is State.CANCELLED


def test_a_database_that_lags_behind_is_not_believed(put: Callable[[str, str], None]) -> None:
    put("squeue", "exit 0")
    put("sacct", "echo '21|RUNNING|0:0|1|Unknown|node1|None'")
    put("scontrol", f"cat <<'EOF'\n{SCONTROL}EOF")
    assert slurm.states([21])[21].state is State.CANCELLED
    put("scontrol", "exit 1")
    assert slurm.states([21])[21].state is State.RUNNING


def test_a_job_that_nobody_knows_is_not_in_the_answer(put: Callable[[str, str], None]) -> None:
    for name in ("squeue", "sacct"):
        put(name, "exit 0")
    put("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert slurm.states([3]) == {}


def test_accounting_that_keeps_failing_is_not_asked_for_ever(
    put: Callable[[str, str], None], tmp_path: Path
) -> None:
    put("squeue", "exit 0")
    put("sacct", "exit 1")
    put("scontrol", "exit 1")
    for _ in range(6):
        slurm.states([3])
    assert sum(line.startswith("sacct") for line in asked(tmp_path)) == client.SACCT_FAILURES_ALLOWED


def test_a_silent_controller_is_a_failure_and_says_that_nothing_is_lost(
    put: Callable[[str, str], None],
) -> None:
    put(
        "squeue",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
    )
    with pytest.raises(Unreachable, match=r"Unable to contact.*Nothing is lost"):
        slurm.states([3])


def test_cancelling_what_is_over_is_fine(put: Callable[[str, str], None], tmp_path: Path) -> None:
    put("scancel", "echo 'scancel: error: Kill job error on job id 3: Invalid job id specified' >&2; exit 1")
    slurm.cancel(3)
    assert asked(tmp_path) == ["scancel 3"]


def test_cancelling_what_is_somebody_elses_fails_in_slurms_words(put: Callable[[str, str], None]) -> None:
    put("scancel", "echo 'scancel: error: Kill job error on job id 3: Access/permission denied' >&2; exit 1")
    with pytest.raises(Failure, match="permission denied"):
        slurm.cancel(3)


def test_energies_of_steps_are_read_and_nothing_is_not_zero() -> None:
    text = (
        "48151||70\n48151.batch|0|70\n48151.extern|900|70\n48151.0|12345|61\n48151.1|0|61\n"
        "48151.2|18446744073709551614|9\n48151.3|4294967294|9\n48151.4|77|0\nhello\n48151.5|1.5K|3\n"
    )
    assert words.read_energies(text) == {0: (12345.0, 61.0)}
