"""Who said what: default < benchmark < site < flags, rivals, and messages that name file, key and remedy."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.errors import Mistake, UnknownName
from hpcdl.frozen import read_toml
from hpcdl.settings import (
    Layered,
    find_benchmark,
    flatten,
    resolve_benchmark,
    resolve_site,
    shipped_benchmarks,
)
from hpcdl.site import Site
from hpcdl.spec import Benchmark

UNSAID = (None, "--unsaid")
keys = st.text(string.ascii_lowercase, min_size=1, max_size=4).filter(
    lambda key: key not in {"options", "environment"}
)
values = st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=3))
tables = st.recursive(
    st.dictionaries(keys, values, min_size=1, max_size=3),
    lambda inner: st.dictionaries(keys, st.one_of(values, inner), min_size=1, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def layer(flat):
    layered = Layered()
    layered.lay(flat, "a test")
    return layered.tables()


@given(tables)
def test_flatten_and_tables_are_inverse(nested):
    assert layer(flatten(nested)) == nested


def test_tables_whose_keys_are_a_persons_own_stay_whole():
    nested = {"slurm": {"options": {"comment": "x"}}, "setup": {"environment": {"A": "1"}}}
    assert flatten(nested) == {"slurm.options": {"comment": "x"}, "setup.environment": {"A": "1"}}
    assert layer(flatten(nested)) == nested


def test_each_voice_silences_those_below(write):
    path = write('[train]\nmodel = "lenet"\nengine = "ddp"\nbatch = 8\n')
    benchmark, sources = resolve_benchmark(
        path,
        {"train.batch": (16, "--batch"), "train.model": UNSAID},
        defaults={"train.engine": "horovod", "train.warmup": 2},
    )
    train = benchmark.train
    assert (train.model, train.engine, train.batch, train.warmup) == ("lenet", "ddp", 16, 2)
    assert sources == {
        "train.model": "mine.toml",
        "train.engine": "mine.toml",
        "train.batch": "--batch",
        "train.warmup": "default",
    }


def test_a_shipped_benchmark_is_named_with_its_folder():
    _, sources = resolve_benchmark(shipped_benchmarks()["smoke"], {})
    assert sources["train.model"] == "benchmarks/smoke.toml"


def test_flags_stand_above_the_site():
    site = Site.model_validate({"slurm": {"partition": "gpu", "account": "bench"}})
    resolved, sources = resolve_site(site, None, {"slurm.partition": ("cpu", "--partition")})
    assert (resolved.slurm.partition, resolved.slurm.account) == ("cpu", "bench")
    assert sources["slurm.partition"] == "--partition"


def test_a_site_keeps_its_file_as_the_source(write):
    path = write('[slurm]\naccount = "bench"\n', "site.toml")
    _, sources = resolve_site(Site.model_validate(read_toml(path)), path, {})
    assert sources == {"slurm.account": "site.toml"}


@pytest.mark.parametrize(
    ("mine", "rival"), [("batch", "global_batch"), ("global_batch", "batch"), ("steps", "epochs")]
)
def test_the_later_voice_silences_its_rival(write, mine, rival):
    path = write(f'[train]\ndata = "digits"\n{rival} = 8\n')
    benchmark, sources = resolve_benchmark(path, {f"train.{mine}": (4, f"--{mine}")})
    assert getattr(benchmark.train, mine) == 4
    assert getattr(benchmark.train, rival) is None
    assert f"train.{rival}" not in sources


def test_one_engine_silences_several_of_a_file(write):
    path = write('[launches]\nengines = ["horovod", "ddp"]\n')
    benchmark, _ = resolve_benchmark(
        path, {"train.engine": ("ddp", "--engine")}, defaults={"train.engine": "horovod"}
    )
    assert (benchmark.train.engine, benchmark.launches.engines) == ("ddp", ())
    several, _ = resolve_benchmark(path, {}, defaults={"train.engine": "horovod"})
    assert several.launches.engines == ("horovod", "ddp")


def test_tf32_is_for_gpus():
    with pytest.raises(Mistake, match="tf32 is a type of GPUs"):
        resolve_benchmark(None, {"train.dtype": ("tf32", "--dtype"), "train.device": ("cpu", "--device")})


@pytest.mark.parametrize(("one", "other"), [("batch", "global_batch"), ("steps", "epochs")])
def test_rivals_in_one_file_are_refused(write, one, other):
    path = write(f"[train]\n{one} = 8\n{other} = 8\n")
    with pytest.raises(Mistake, match="exclude each other") as caught:
        resolve_benchmark(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("one", "other"), [("batch", "global_batch"), ("steps", "epochs")])
def test_rivals_on_one_command_line_are_refused(one, other):
    flags = {f"train.{one}": (8, f"--{one}"), f"train.{other}": (8, f"--{other}")}
    with pytest.raises(Mistake, match="exclude each other") as caught:
        resolve_benchmark(None, flags)
    assert f"--{one}" in str(caught.value)
    assert f"--{other}" in str(caught.value)


def test_another_source_of_data_forgets_the_folder_of_the_file(write):
    path = write('[train]\ndata = "folder"\ndata_dir = "/images"\n')
    benchmark, sources = resolve_benchmark(
        path, {"train.data": ("digits", "--data"), "train.data_dir": (None, "--data")}
    )
    assert (benchmark.train.data, benchmark.train.data_dir) == ("digits", None)
    assert "train.data_dir" not in sources


def test_an_unknown_key_names_file_key_nearest_and_allowed(write):
    path = write("[train]\nbach = 8\n")
    with pytest.raises(Mistake) as caught:
        resolve_benchmark(path, {})
    message = str(caught.value)
    for part in (str(path), "'train.bach'", "Did you mean 'batch'?", "global_batch", "warmup"):
        assert part in message


def test_an_unknown_table_lists_the_tables(write):
    with pytest.raises(Mistake, match=r"no key 'trian'. Did you mean 'train'\?.*launches"):
        resolve_benchmark(write("[trian]\nbatch = 8\n"), {})


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('batch = "many"', "train.batch"),
        ("batch = 0", "train.batch"),
        ("batch = -3", "train.batch"),
        ("batch = 1.5", "train.batch"),
        ("learning_rate = nan", "train.learning_rate"),
        ("learning_rate = inf", "train.learning_rate"),
        ('engine = "hvd"', "train.engine"),
        ("model = 7", "train.model"),
        ("model = {}", "train.model"),
    ],
)
def test_a_value_that_cannot_be_names_its_key(write, line, key):
    with pytest.raises(Mistake, match=key.replace(".", r"\.")):
        resolve_benchmark(write(f"[train]\n{line}\n"), {})


def test_a_table_where_a_value_should_be_and_the_reverse(write):
    with pytest.raises(Mistake, match="train"):
        resolve_benchmark(write("train = 3\n"), {})
    with pytest.raises(Mistake, match=r"launches\.nodes"):
        resolve_benchmark(write("[launches.nodes]\na = 1\n"), {})


def test_an_unknown_network_is_told_with_the_nearest(write):
    with pytest.raises(Mistake, match="Did you mean 'alexnet'"):
        resolve_benchmark(write('[train]\nmodel = "alxnet"\n'), {})


def test_what_is_no_toml_names_the_line(write):
    with pytest.raises(Mistake, match="line 2"):
        resolve_benchmark(write("[train]\nmodel = lenet\n"), {})


def test_what_is_no_text_is_a_mistake(tmp_path):
    path = tmp_path / "picture.toml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(Mistake, match=r"picture\.toml"):
        resolve_benchmark(path, {})


def test_a_missing_file_or_a_folder_is_a_mistake(tmp_path):
    with pytest.raises(Mistake, match="no such file"):
        resolve_benchmark(tmp_path / "absent.toml", {})
    with pytest.raises(Mistake, match="cannot be read"):
        resolve_benchmark(tmp_path, {})


def test_a_bad_flag_is_named_as_it_was_typed():
    with pytest.raises(Mistake, match=r"--batch.*train\.batch.*given: 0"):
        resolve_benchmark(None, {"train.batch": (0, "--batch"), "train.steps": (5, "--steps")})


def test_epochs_need_data_that_end():
    with pytest.raises(Mistake, match="synthetic data have no epochs"):
        resolve_benchmark(None, {"train.epochs": (2, "--epochs")})


def test_find_benchmark_by_name_and_by_path():
    assert find_benchmark("smoke") == shipped_benchmarks()["smoke"]
    assert str(find_benchmark("./mine.toml")) == "mine.toml"
    with pytest.raises(UnknownName, match=r"Did you mean 'smoke'\?"):
        find_benchmark("smok")


def test_of_several_flags_the_one_at_fault_is_named():
    flags = {"train.model": ("lenet", "--model"), "train.min_window_s": ("0s", "--min-window")}
    with pytest.raises(
        Mistake, match=r"^--min-window: train\.min_window_s: input should be greater than 0"
    ) as told:
        resolve_benchmark(None, flags)
    assert told.value.do == "--help says what each flag takes."


def test_a_benchmark_keeps_its_identity_when_there_is_more_that_can_be_asked():
    """History over weeks hangs on it: power is no part of the question, and what is not asked for neither."""
    asked = Benchmark()
    assert asked.benchmark_id == "6c460af5aeb6"
    assert Benchmark.model_validate({"power": {"sample": False}}).benchmark_id == asked.benchmark_id
    assert Benchmark.model_validate({"train": {"min_window_s": "60s"}}).benchmark_id != asked.benchmark_id
