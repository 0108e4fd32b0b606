"""The parts of a check that need no ranks: what is read of a node, what is counted, what is kept after a failure."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.checks import Checked
from hpcdl.errors import Mistake, Refused
from hpcdl.plan import NodeCheck
from hpcdl.power.health import KEYS
from hpcdl.records import Missing
from hpcdl.worker import check as checking
from hpcdl.worker.beacon import Beacon
from hpcdl.worker.check import arithmetic, health, identity, memory, nic, soak, software, storage
from hpcdl.worker.check.data import digest_contents
from hpcdl.worker.check.gpus import Gpu, list_gpus
from hpcdl.worker.check.post import Post, Pulse, Seen
from hpcdl.worker.check.turns import Turn, take
from hpcdl.worker.data.verify import find_damaged
from hpcdl.worker.place import Place
from tests.check_launches import as_check
from tests.data_requests import NEEDS_DALI
from tests.golden.jobs import make_job
from tests.nvml import standin
from tests.nvml.standin import Scenario
from tests.photographs import make_tree
from tests.unit.records_maker import make_conditions

ABSENT = Missing(missing="not told")


class Said:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.checked: list[Checked] = []

    def say(self, message):
        self.checked.append(message.checked)


def make_post(*, refusal="", local_rank=0, checks=("identity",)):
    check = NodeCheck(checks=checks)
    launch = as_check(make_job().launches[0], check)
    place = Place(rank=3, world_size=4, local_rank=local_rank, node=1, host="node2")
    return Post(launch, check, place, None, None, Said(), Pulse(Beacon.create()), refusal=refusal)


# ---- Turns ----


def looks(*seen):
    def give(post, training):
        for one in seen:
            if isinstance(one, Exception):
                raise one
            yield one

    return give


def test_a_timed_check_gives_one_look_in_each_turn_and_keeps_its_place():
    post = make_post()
    turn = Turn(
        "matrix", looks(*(Seen(numbers={"n": float(n)}) for n in range(9))), None, timed=True, node_wide=False
    )
    for repeat in (1, 2):
        take(post, turn, repeat)
    assert [(one.numbers["n"], one.repeat, one.outcome) for one in post.reporter.checked] == [
        (0.0, 1, "looked"),
        (1.0, 2, "looked"),
    ]
    one = post.reporter.checked[0]
    assert (one.rank, one.host, one.device, one.begin_s <= one.end_s) == (3, "node2", "cpu", True)
    assert one.model


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Mistake("DALI is missing.", do="Install it."), "DALI is missing. Install it."),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
        (FileNotFoundError(2, "gone", "caf\udce9"), "FileNotFoundError: [Errno 2] gone: 'caf\\udce9'"),
    ],
)
def test_a_check_that_cannot_look_says_why_once_and_is_not_tried_again(problem, reason):
    post = make_post()
    turn = Turn("decode", looks(Seen(numbers={"n": 1.0}), problem), None, timed=True, node_wide=True)
    for repeat in (1, 2, 3):
        take(post, turn, repeat)
    assert [(one.outcome, one.repeat) for one in post.reporter.checked] == [
        ("looked", 1),
        ("could not look", 2),
    ]
    failed = post.reporter.checked[-1]
    assert (failed.reason, failed.numbers, failed.device) == (reason, {}, "")
    Checked.model_validate_json(failed.model_dump_json())


def test_without_the_planned_device_what_needs_one_is_told_and_the_rest_is_looked_at():
    post = make_post(refusal="local rank 0 was to have a GPU, and torch sees 0 here.")
    for name, node_wide in (("matrix", False), ("storage", True)):
        take(post, Turn(name, looks(Seen(numbers={"n": 1.0})), None, timed=True, node_wide=node_wide), 1)
    matrix, disk = post.reporter.checked
    assert (matrix.outcome, matrix.reason) == ("could not look", post.refusal)
    assert (disk.outcome, disk.device) == ("looked", "")


def test_a_rank_without_its_gpu_looks_at_the_node_and_is_refused(monkeypatch):
    launch = make_job(site={"node": {"gpus": 4, "cores": 4}}).launches[0]
    launch = as_check(launch, NodeCheck(checks=("identity", "matrix"))).model_copy(
        update={"train": launch.train.model_copy(update={"device": "gpu"})}
    )
    monkeypatch.setattr(checking, "prepare", lambda launch, place: None)
    said, place = Said(), Place(rank=0, world_size=4, local_rank=0, node=0, host="node1")
    with pytest.raises(Refused, match="was to have a GPU"):
        checking.look(launch, place, None, said, Beacon.create())
    assert [(one.check, one.outcome) for one in said.checked] == [
        ("identity", "looked"),
        ("matrix", "could not look"),
    ]


def test_only_the_first_rank_of_a_node_looks_at_what_is_the_nodes(monkeypatch):
    names = ("identity", "storage", "data", "decode", "matrix")
    assert [checking._plan(make_post(local_rank=1, checks=names), name) == [] for name in names] == [
        *(True, True, True, True, False)
    ]


def test_the_pulse_moves_whatever_is_done_and_names_the_check():
    beacon = Beacon.create()
    pulse = Pulse(beacon)
    pulse.enter("storage")
    first = beacon.read()
    pulse.show(0, "exchange")  # a training's own words
    second = beacon.read()
    assert first[1] == second[1] == "storage"
    assert second[0] > first[0]


# ---- Arithmetic ----


def test_a_fingerprint_is_of_the_losses_and_of_every_bit_of_the_weights():
    weights = torch.tensor([1.0, 2.0])
    found = arithmetic.take_fingerprint([0.5, 0.25], [weights])
    assert found.losses == "0x1.0000000000000p-1 0x1.0000000000000p-2"
    expected = hashlib.sha256(found.losses.encode() + weights.numpy().tobytes()).hexdigest()[:16]
    assert found.digest == expected
    nudged = torch.nextafter(weights, torch.tensor(10.0))
    assert arithmetic.take_fingerprint([0.5, 0.25], [nudged]).digest != expected


def test_a_diverged_loss_has_a_fingerprint_too():
    assert arithmetic.take_fingerprint([float("nan"), float("inf")], []).losses == "nan inf"


@pytest.mark.parametrize(
    ("planned", "flops", "gpu", "batch"),
    [(64, 1e7, False, 64), (128, 2e9, False, 10), (128, 2e9, True, 128), (8, 5e10, False, 2)],
)
def test_images_of_an_exact_step_are_bounded_by_their_arithmetic(planned, flops, gpu, batch):
    assert arithmetic.choose_batch(planned, flops, gpu=gpu) == batch


def test_afterwards_torch_is_as_it_was():
    before = (torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32)
    with arithmetic._exactly():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    after = (torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32)
    assert after == before


# ---- Memory ----


def make_cache(root, cpu, level, size, shared):
    folder = root / f"cpu{cpu}" / "cache" / f"index{level}"
    folder.mkdir(parents=True)
    for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
        (folder / name).write_text(f"{text}\n")


def test_each_last_level_cache_counts_once(tmp_path):
    for cpu, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3")):
        make_cache(tmp_path, cpu, 2, "2048K", str(cpu))
        make_cache(tmp_path, cpu, 3, "32M", shared)
    assert memory.read_cache_bytes({0, 1, 2}, tmp_path) == 2 * 32 * 2**20
    assert memory.read_cache_bytes({7}, tmp_path) == 0


@pytest.mark.parametrize(
    ("cache", "size"), [(0, 64 * 2**20), (32 * 2**20, 128 * 2**20), (2**30, 256 * 2**20)]
)
def test_arrays_are_beyond_the_cache_and_bounded(cache, size):
    assert memory.choose_bytes(cache) == size


def test_a_triad_counts_three_arrays(monkeypatch):
    times = iter([0.0, 0.1, 0.15, 0.2, 0.25])
    monkeypatch.setattr(memory, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    # Three rounds at least; then one at 0.1 s and one at 0.15 s; at 0.2 s it is enough, and 0.25 s is the end.
    rate = memory.measure_triad(torch.device("cpu"), 4000)
    assert rate == pytest.approx(3 * 4000 * 5 / 0.25)


# ---- Storage and data ----


def test_a_file_is_read_to_its_end(tmp_path):
    (tmp_path / "one").write_bytes(b"x" * (storage.BLOCK_BYTES + 5))
    found = storage.read_file(str(tmp_path / "one"))
    assert found.size == storage.BLOCK_BYTES + 5
    with pytest.raises(OSError) as problem:
        storage.read_file(str(tmp_path / "two"))
    assert problem.value.filename == str(tmp_path / "two")


@pytest.mark.parametrize(
    ("cached", "words"),
    [
        ([False, False], "had none of the files"),
        ([True, False, True], "may have served some of the files"),
        ([True, *[False] * 99], "had next to none of the files"),
        ([None, False], "may have served them: this file system does not tell"),
    ],
)
def test_the_page_cache_is_told_of(cached, words):
    assert storage.tell_cache([storage.Read(1, one) for one in cached]) == words


def test_a_digest_of_contents_is_of_names_and_bytes_and_not_of_times(tmp_path):
    for root in ("one", "two"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "a").write_bytes(b"1")
        (tmp_path / root / "b").write_bytes(b"2")
    os.utime(tmp_path / "two" / "a", (1, 1))
    one = digest_contents(tmp_path / "one", ["a", "b"])
    assert one == digest_contents(tmp_path / "two", ["b", "a"])
    assert len(one) == 16
    (tmp_path / "two" / "b").write_bytes(b"3")
    assert digest_contents(tmp_path / "two", ["a", "b"]) != one
    assert digest_contents(tmp_path / "two", ["a", "gone"]) != digest_contents(tmp_path / "two", ["a"])


@pytest.mark.dali
@NEEDS_DALI[1]
def test_all_damaged_files_are_found_and_not_the_first_only(tmp_path):
    make_tree(tmp_path, classes=2, per_class=20, size=48)
    files = sorted(str(file) for file in tmp_path.rglob("*.jpg"))
    for index in (3, 4, 30):
        (tmp_path / files[index]).write_bytes(b"")
    found = list(find_damaged(files, threads=1))
    assert found == [(files[index], "it holds no bytes at all") for index in (3, 4, 30)]


# ---- Identity ----


def make_interface(root, name, *, speed="100000\n", driver="mlx5_core"):
    (root / name).mkdir(parents=True)
    (root / name / "speed").write_text(speed)
    if driver:
        real = root.parent / "drivers" / driver
        real.mkdir(parents=True, exist_ok=True)
        (root / name / "device").mkdir()
        (root / name / "device" / "driver").symlink_to(real)


ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "ib0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n"
)


@pytest.mark.parametrize(
    ("planned", "chosen"),
    [
        ("ib0", "ib0"),
        ("ib", "ib0"),
        ("=ib1", "ib1"),
        ("mlx,eth0", "eth0"),
        ("10.0.0.0/8", "eth0"),
        (None, "eth0"),
    ],
)
def test_the_interface_is_the_planned_one_or_the_default_routes(tmp_path, planned, chosen):
    for name in ("eth0", "ib0", "ib1", "lo"):
        make_interface(tmp_path / "net", name)
    (tmp_path / "route").write_text(ROUTES)
    assert nic.choose_interface(planned, net=tmp_path / "net", routes=tmp_path / "route") == chosen


def test_an_interface_in_words(tmp_path):
    net = tmp_path / "net"
    make_interface(net, "ib0")
    make_interface(net, "veth1", speed="-1\n", driver="")
    assert nic.describe_interface("ib0", net) == "mlx5_core, 100000 Mbit/s"
    assert nic.describe_interface("veth1", net) == "no driver of its own, speed not told"
    assert nic.choose_interface(None, net=net, routes=tmp_path / "no-routes") is None


def test_a_node_without_gpus_is_known_to_have_none():
    assert identity.describe_gpus((), None) == {"gpu": "none", "driver": "none", "vbios": "none"}


def test_gpus_in_words_and_what_nobody_tells_is_left_out():
    two = (Gpu("GPU-1", "H100", "96.00"), Gpu("GPU-2", "H100", "96.01"))
    assert identity.describe_gpus(two, "580.65") == {
        "gpu": "H100",
        "driver": "580.65",
        "vbios": "96.00, 96.01",
    }
    untold = identity.describe_gpus((*two, Gpu("GPU-3", "H100")), None)
    assert (untold["vbios"], untold["driver"]) == ("", "")


@given(
    st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\x85"), max_size=40
    )
)
def test_the_distribution_is_read_from_any_file(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("etc") / "os-release"
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    path.write_text(f'# of this system\nID=x\nPRETTY_NAME="{quoted}"\nbroken line\n', encoding="utf-8")
    found = identity.read_system(path)
    assert isinstance(found, str)
    if not set("\\$`") & set(text):
        assert found == text


def test_governors_that_differ_are_all_named(tmp_path):
    for cpu, name in enumerate(("performance", "powersave", "performance")):
        folder = tmp_path / f"cpu{cpu}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    assert identity.read_governor((0, 1, 2, 9), tmp_path) == "performance, powersave"
    assert identity.read_governor((9,), tmp_path) == "none"


def test_limits_are_those_of_this_process():
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert identity.describe_limits().startswith(f"open files {open_files}, processes ")


def test_versions_are_one_word_and_each_a_word_of_its_own():
    words = software.Software({"torch": "2.13", "dali": "2.4"}).words
    assert words["versions"] == '{"dali":"2.4","torch":"2.13"}'
    assert (words["version.torch"], words["version.dali"]) == ("2.13", "2.4")
    assert json.loads(software.read_software().words["versions"])["torch"] == torch.__version__


def test_a_build_is_the_same_on_another_processor():
    text = "PyTorch built with:\n  - GCC 13\n  - CPU capability usage: {}\n  - Build settings: BLAS_INFO=mkl"
    assert software.digest_build(text.format("AVX512")) == software.digest_build(text.format("AVX2"))
    assert software.digest_build(text.format("AVX2")) != software.digest_build("GCC 12")


def test_the_version_that_an_import_would_bring_is_read_without_importing(tmp_path, monkeypatch):
    package = tmp_path / "hpcdl_probe_of_versions"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1.2.3'\nraise RuntimeError('was imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert software.read_importable(package.name) == "1.2.3"
    assert software.read_importable("hpcdl_no_such_module") is None


# ---- Health ----


def test_health_adds_up_what_held_the_rank_back_and_keeps_the_worst_neighbour():
    seen = [
        make_conditions(cpu_throttled_s=s, foreign_cores=c) for s, c in ((0.5, 0.1), (1.5, 0.7), (0.0, 0.2))
    ]
    assert health.sum_up(seen) == {"cpu_throttled_s": 2.0, "foreign_cores": 0.7}


def test_where_one_window_could_not_be_looked_into_nobody_knows():
    seen = [make_conditions(cpu_throttled_s=0.5), make_conditions(cpu_throttled_s=ABSENT)]
    assert health.sum_up(seen)["cpu_throttled_s"] == ABSENT
    assert health.sum_up([])["foreign_cores"] == health.NOTHING_TRAINED


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Puts GPUs into this process, on a node that trains on its processor."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    library = standin.build(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def put_in(*gpus, errors=()):
        standin.put_in(monkeypatch, library, Scenario(gpus, errors=errors).write(tmp_path / "scenario"))

    return put_in


def look_at_health(post):
    with health.watching(post):
        return list(health.look(post, None))


def test_the_first_rank_looks_at_all_gpus_of_a_node_that_trains_on_its_processor(gpus):
    gpus(standin.Gpu("GPU-1", temperature_c=88), standin.Gpu("GPU-2", name="NVIDIA A100"))
    one, two, cpu, node = look_at_health(make_post(checks=("health",)))
    assert [(one.device, one.model), (two.device, two.model)] == [
        ("GPU-1", "NVIDIA H100 80GB HBM3"),
        ("GPU-2", "NVIDIA A100"),
    ]
    assert (one.numbers["temperature_c"], two.numbers["temperature_c"]) == (88.0, 61.0)
    assert set(one.numbers) == set(KEYS)
    assert set(cpu.numbers) == {"temperature_c", "clock_mhz"}
    assert (node.device, set(node.numbers)) == ("", {"cpu_throttled_s", "foreign_cores"})
    [second] = look_at_health(make_post(local_rank=1, checks=("health",)))
    assert second.device is None
    assert [gpu.name for gpu in list_gpus()] == ["NVIDIA H100 80GB HBM3", "NVIDIA A100"]


def test_a_gpu_that_nobody_can_ask_is_not_a_healthy_one(gpus, monkeypatch):
    gpus(standin.Gpu("GPU-1"))

    def refuse(uuids):
        raise OSError("no such driver")

    monkeypatch.setattr(health, "Watch", refuse)
    gpu, *_ = look_at_health(make_post(checks=("health",)))
    assert set(gpu.numbers.values()) == {Missing(missing="OSError: no such driver")}
    assert set(gpu.numbers) == set(KEYS)


def test_the_hottest_of_what_was_read():
    assert soak.find_hottest([60.0, ABSENT, 80.0]) == 80.0
    assert soak.find_hottest([ABSENT]) == ABSENT
