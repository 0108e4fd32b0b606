"""Tuning: what is worth something is found, what is not is seldom kept, and the site file keeps every other byte."""

from __future__ import annotations

import json
import math
import random
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import cli
from hpcdl.errors import Mistake
from hpcdl.plan import Size, make_launches
from hpcdl.settings import choose_tuned, resolve_benchmark
from hpcdl.site import Node, Site
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.tuning.candidates import Candidate, list_candidates
from hpcdl.tuning.keeping import keep, replace_table, write_table
from hpcdl.tuning.search import Trial, search

FASTER, SLOWER, SAME = (
    Candidate("compile", value=True),
    Candidate("fused", value=False),
    Candidate("prefetch", 4),
)


class Machine:
    """A machine on which settings have a known worth, and trials scatter."""

    def __init__(self, worths, *, scatter, seed, trial_s=1.0):
        self.worths, self.scatter, self.trial_s = worths, scatter, trial_s
        self.random = random.Random(seed)  # noqa: S311
        self.left_s = math.inf
        self.trials = 0

    def __call__(self, settings):
        self.trials += 1
        self.left_s -= self.trial_s
        rate = 1000.0
        for key, value in settings.items():
            worth = self.worths.get((key, value), 1.0)
            if worth is None:
                return Trial(None, "it needs a compiler")
            rate *= worth
        return Trial(rate * math.exp(self.random.gauss(0, self.scatter)))


def outcomes(found):
    return [finding.outcome for finding in found.findings]


def test_what_is_faster_is_kept_and_what_is_slower_is_not():
    worths = {("compile", True): 1.2, ("fused", False): 0.8, ("layout", "nhwc"): 1.3}
    machine = Machine(worths, scatter=0.01, seed=1)
    found = search([FASTER, SLOWER, SAME, Candidate("layout", "nhwc")], machine, lambda: 1)
    assert found.settings == {"compile": True, "layout": "nhwc"}
    assert found.gain == pytest.approx(1.2 * 1.3, rel=0.05)
    assert outcomes(found)[1] == "slower"
    assert found.findings[1].pairs == 2, "what is hopeless is not tried for long"


def test_a_later_value_is_tried_against_the_one_that_was_kept():
    worths = {("threads", 4): 1.2, ("threads", 8): 1.1}
    found = search(
        [Candidate("threads", 4), Candidate("threads", 8)], Machine(worths, scatter=0.005, seed=2), lambda: 1
    )
    assert found.settings == {"threads": 4}
    assert found.findings[1].worth.value == pytest.approx(1.1 / 1.2, rel=0.02)


def test_what_is_worth_nothing_is_seldom_kept():
    """Of 400 settings without any worth, on a machine that scatters by 5 %: counted, not assumed."""
    kept = sum(
        bool(search([SAME], Machine({}, scatter=0.05, seed=seed), lambda: 1).settings) for seed in range(400)
    )
    assert kept / 400 < 0.06


def test_what_is_worth_ten_percent_is_mostly_found_though_trials_scatter():
    worths = {("compile", True): 1.1}
    found = [
        search([FASTER], Machine(worths, scatter=0.02, seed=seed), lambda: 1).settings for seed in range(100)
    ]
    assert sum(map(bool, found)) > 85


def test_a_setting_that_cannot_run_is_told_and_the_rest_goes_on():
    machine = Machine({("compile", True): None, ("layout", "nhwc"): 1.5}, scatter=0.01, seed=3)
    found = search([FASTER, Candidate("layout", "nhwc")], machine, lambda: 1)
    assert outcomes(found) == ["impossible", "kept"]
    assert found.findings[0].reason == "it needs a compiler"


def test_when_the_time_is_spent_nothing_more_is_begun():
    machine = Machine({}, scatter=0.05, seed=4)
    machine.left_s = 5.0
    found = search([SAME, FASTER], machine, lambda: machine.left_s)
    assert machine.trials == 6, "the pair under way is finished"
    assert outcomes(found) in (
        ["undecided", "not tried"],
        ["no difference", "not tried"],
        ["slower", "not tried"],
    )


def candidates_of(*, ranks=1, gpus=0, lower_precision=False, **train):
    benchmark = Benchmark(train=Train(**train), launches=Launches(nodes=(ranks,)))
    size = Size(nodes=1, tasks_per_node=ranks, cpus_per_task=4, threads_per_core=1, gpus_per_node=gpus)
    [launch] = make_launches(benchmark, Site(node=Node(gpus=gpus)), (size,), launcher="direct")
    return list_candidates(launch, lower_precision=lower_precision)


def test_candidates_fit_what_is_there():
    alone = candidates_of(data="synthetic")
    assert {one.key for one in alone} == {"layout", "compile", "threads", "fused"}
    two = candidates_of(ranks=2, gpus=2, data="digits", lower_precision=True)
    assert {one.key for one in two} >= {"cuda_graphs", "dtype", "fusion_mb", "compression", "data_threads"}
    assert not any(one.numerics for one in alone)
    assert {one.text for one in two if one.numerics} == {
        "dtype = tf32",
        "dtype = bf16",
        "dtype = fp16",
        "compression = fp16",
    }


NAMES = st.sampled_from(["alexnet", "lenet", "alexnet-owt", "overfeat.fast"])
SETTINGS = st.dictionaries(
    st.sampled_from(["layout", "threads", "compile", "note"]),
    st.one_of(st.booleans(), st.integers(0, 99), st.text(max_size=20)),
    max_size=4,
)
BEFORE = """# Our cluster
name = "here"   # a comment

[slurm]
partition = "gpu"

# old words
[tuned.lenet]
threads = 4

# of the node
[node]
cores = 64
"""


@given(NAMES, SETTINGS, st.sampled_from(["", "name = 'x'", BEFORE]))
def test_any_table_is_written_as_toml_and_nothing_else_changes(name, settings, before):
    after = replace_table(before, name, write_table(name, settings, "by hand"))
    wanted = tomllib.loads(before)
    wanted.setdefault("tuned", {})[name] = settings
    assert tomllib.loads(after) == wanted
    for line in before.splitlines():
        assert line in after or line in {"# old words", "threads = 4"}


def test_a_table_is_replaced_where_it_stands_with_its_comment():
    after = replace_table(BEFORE, "lenet", write_table("lenet", {"compile": True}, "new words"))
    assert after == BEFORE.replace("# old words", "# new words").replace("threads = 4", "compile = true")


def test_a_file_behind_a_link_stays_there_with_its_mode_and_its_line_ends(tmp_path):
    real, link = tmp_path / "real.toml", tmp_path / "site.toml"
    real.write_bytes(BEFORE.replace("\n", "\r\n").encode())
    real.chmod(0o600)
    link.symlink_to(real)
    keep(link, "lenet", {"compile": True}, "new words")
    wanted = BEFORE.replace("# old words", "# new words").replace("threads = 4", "compile = true")
    assert real.read_bytes() == wanted.replace("\n", "\r\n").encode()
    assert (link.is_symlink(), real.stat().st_mode & 0o777) == (True, 0o600)


@pytest.mark.parametrize("before", ["tuned = {lenet = {threads = 2}}\n", "[tuned]\nlenet = {threads = 2}\n"])
def test_a_table_that_is_written_otherwise_is_left_alone(tmp_path, before):
    path = tmp_path / "site.toml"
    path.write_text(before)
    with pytest.raises(Mistake, match="cannot be changed by a program"):
        keep(path, "lenet", {"compile": True}, "words")
    assert path.read_text() == before


def test_what_was_tuned_lies_between_defaults_and_what_somebody_says(tmp_path):
    site = Site(tuned={"lenet": {"device": "cpu", "threads": 3, "layout": "nhwc", "prefetch": 8}})
    path = tmp_path / "mine.toml"
    path.write_text('[train]\nmodel = "lenet"\nlayout = "nchw"\n')
    tuned = choose_tuned(site, Benchmark(train=Train(model="lenet")))
    benchmark, sources = resolve_benchmark(
        path, {"train.prefetch": (2, "--prefetch")}, tuned=tuned, tuned_in="tuned (site.toml)"
    )
    assert (benchmark.train.threads, benchmark.train.layout, benchmark.train.prefetch) == (3, "nchw", 2)
    assert sources["train.threads"] == "tuned (site.toml)"


def test_what_was_tuned_on_another_device_or_network_is_not_taken():
    site = Site(tuned={"lenet": {"device": "gpu", "cuda_graphs": True}})
    assert choose_tuned(site, Benchmark(train=Train(model="lenet"))) == {}
    assert choose_tuned(site, Benchmark(train=Train(model="alexnet"))) == {}
    assert choose_tuned(site, Benchmark(train=Train(model="lenet", device="gpu"))) == {
        "train.cuda_graphs": True
    }


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[tuned.lenet]\nbatch = 4", "'batch' is no setting of speed"),
        ("[tuned.lenet]\nlayout = 'x'", "layout"),
    ],
)
def test_a_site_file_with_other_settings_is_refused(tmp_path, monkeypatch, capsys, table, words):
    (tmp_path / "site.toml").write_text(table)
    monkeypatch.setenv("HPCDL_SITE", str(tmp_path / "site.toml"))
    monkeypatch.setattr("sys.argv", ["hpcdl", "run", "smoke", "--dry-run"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert words in capsys.readouterr().err


def test_one_pair_of_trials_here_and_the_file_has_what_was_found(tmp_path, monkeypatch, capsys):
    """For real, on LeNet and digits, with time for no more than one pair."""
    path = tmp_path / "site.toml"
    path.write_text('name = "here" # mine\n')
    what = ["--model", "lenet", "--data", "digits", "--device", "cpu", "--engine", "single"]
    words = ["tune", *what, "--budget", "1s", "--json"]
    monkeypatch.setattr("sys.argv", ["hpcdl", *words, "--site", str(path), "--store", str(tmp_path / "runs")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, err = capsys.readouterr()
    assert left.value.code == 0, err
    shown = json.loads(out)
    assert shown["kind"] == "tuned"
    rows = shown["settings"]
    assert [row["outcome"] for row in rows][:2] == ["undecided", "not tried"]
    assert rows[0]["pairs"] == 1
    assert len(list((tmp_path / "runs").iterdir())) >= 2, "trials are runs like any others"
    assert path.read_text() == 'name = "here" # mine\n'


def test_a_budget_that_is_no_time_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hpcdl", "tune", "--model", "lenet", "--budget", "soon"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert "--budget soon" in capsys.readouterr().err
