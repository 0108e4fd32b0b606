"""How a node is wired: made trees of the kernel's, and a stand-in for NVML behind the real pynvml."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.power.wiring import Wiring, read_bus_id, read_wiring
from hpcdl.records import Missing
from hpcdl.topology import FARNESS, NodeTopology
from hpcdl.worker.topology import read
from hpcdl.worker.topology.nics import read_nics
from hpcdl.worker.topology.node import count_plugged
from hpcdl.worker.topology.numa import read_numa
from hpcdl.worker.topology.pci import Spot, locate, normalise, relate
from tests.nvml.standin import NO_PERMISSION, Error, Gpu, Scenario, build, put_in
from tests.unit.node_trees import GPU_ROUTES, NIC_ROUTE, Tree, make_node
from tests.unit.sensor_trees import write

NO_NVML = Missing(missing="NVML: no driver")
SWITCH = "00000000:05:00.0"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def plant(monkeypatch, library, tmp_path):
    """Make these the GPUs of this process."""

    def put(*gpus, errors=()):
        path = Scenario(gpus, errors=tuple(errors)).write(tmp_path / "scenario")
        put_in(monkeypatch, library, path)

    return put


def make_gpus(**changes):
    """The four GPUs of `make_node`, by default without NVLink."""
    buses = [f"0000{route.rsplit('/', 1)[-1].upper()}" for route in GPU_ROUTES]
    return [Gpu(f"GPU-{index}", bus_id=bus, **changes) for index, bus in enumerate(buses)]


def words_of(node):
    return {(one.one, one.other): one.word for one in node.relations}


# ---- The kernel's trees ----


def test_numa_nodes_are_read(tmp_path):
    tree = Tree(tmp_path)
    tree.add_numa(0, "0-1,4-5", memory_kib=2048)
    tree.add_numa(10, "", memory_kib=512)
    first, second = read_numa(tree.roots.node)
    assert (first.node, first.cpus, first.memory_bytes) == (0, (0, 1, 4, 5), 2048 * 1024)
    # Memory of a GPU is a node without CPUs.
    assert (second.node, second.cpus) == (10, ())


def test_a_kernel_without_numa_tells_so(tmp_path):
    assert read_numa(tmp_path / "none") == Missing(missing="the kernel lists no NUMA nodes")
    (tmp_path / "node3").mkdir()
    assert read_numa(tmp_path) == Missing(missing="the kernel does not tell the CPUs of NUMA node 3")


def test_memory_that_is_not_told_is_missing(tmp_path):
    write(tmp_path / "node0", {"cpulist": "0"})
    [node] = read_numa(tmp_path)
    assert isinstance(node.memory_bytes, Missing)


def test_a_virtio_device_is_found_by_the_pci_device_above_it(tmp_path):
    tree = Tree(tmp_path)
    home = tree.add_device("pci0000:00/0000:00:03.0")
    (home / "virtio2").mkdir()
    tree.add_interface("eth0", home / "virtio2", speed="", driver="virtio_net")
    [placed] = read_nics(tree.roots.infiniband, tree.roots.net)
    assert (placed.nic.name, placed.nic.bus_id, placed.nic.driver) == ("eth0", "0000:00:03.0", "virtio_net")
    assert placed.nic.speed_bits_per_s == Missing(missing="its driver does not tell its speed")
    assert placed.nic.numa_node == Missing(missing="the kernel does not tell the NUMA node")


def test_an_adapter_carries_its_interfaces_and_virtual_ones_are_none(tmp_path):
    tree = make_node(tmp_path, second=False)
    device = tmp_path / "devices" / NIC_ROUTE
    tree.add_interface("ib0", device, kind="32")
    tree.add_interface("lo", None)
    [placed] = read_nics(tree.roots.infiniband, tree.roots.net)
    nic = placed.nic
    assert (nic.name, nic.kind, nic.interfaces, nic.driver) == ("mlx5_0", "InfiniBand", ("ib0",), "mlx5_core")
    assert (nic.state, nic.speed_bits_per_s, nic.numa_node) == ("active", 400e9, 0)


@pytest.mark.parametrize(("speed", "bits"), [("25000", 25e9), ("-1", None), ("what", None), ("", None)])
def test_a_speed_that_is_not_told_is_missing_and_never_zero(tmp_path, speed, bits):
    tree = Tree(tmp_path)
    tree.add_interface("eth0", tree.add_device("pci0000:00/0000:00:03.0"), speed=speed)
    [placed] = read_nics(tree.roots.infiniband, tree.roots.net)
    found = placed.nic.speed_bits_per_s
    assert isinstance(found, Missing) if bits is None else found == bits


def test_ethernet_of_rdma_is_roce(tmp_path):
    tree = Tree(tmp_path)
    device = tree.add_device("pci0000:00/0000:00:03.0")
    tree.add_infiniband("mlx5_0", device, rate="100 Gb/sec (4X EDR)", layer="Ethernet", state="1: DOWN")
    tree.add_interface("eth0", device)
    [placed] = read_nics(tree.roots.infiniband, tree.roots.net)
    assert (placed.nic.kind, placed.nic.interfaces, placed.nic.state) == ("RoCE", ("eth0",), "down")


def test_of_two_ports_the_active_one_counts(tmp_path):
    tree = Tree(tmp_path)
    tree.add_infiniband("mlx4_0", tree.add_device("pci0000:00/0000:00:03.0"), state="1: DOWN")
    files = {"state": "4: ACTIVE", "rate": "56 Gb/sec (4X FDR)", "link_layer": "InfiniBand"}
    write(tree.roots.infiniband / "mlx4_0" / "ports" / "2", files)
    tree.add_interface("lo", None)
    [placed] = read_nics(tree.roots.infiniband, tree.roots.net)
    assert (placed.nic.state, placed.nic.speed_bits_per_s) == ("active", 56e9)


def test_interfaces_that_cannot_be_listed_are_missing(tmp_path):
    assert isinstance(read_nics(tmp_path / "ib", tmp_path / "net"), Missing)


# ---- How far ----


def spot_of(route, node=0):
    return Spot(tuple(route.split("/")), node, ())


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        ("pci0000:17/a/b/c/d", "pci0000:17/a/b/e/f", "PIX"),  # one switch: below it a port and a device each
        ("pci0000:17/a/d0", "pci0000:17/a/d1", "PIX"),  # two functions of one card
        ("pci0000:17/a/b/c/d", "pci0000:17/a/b/e/f/g/h", "PXB"),  # a switch below the switch
        ("pci0000:17/a/d", "pci0000:17/b/e", "PHB"),
        ("pci0000:17/a/d", "pci0000:30/b/e", "NODE"),
    ],
)
def test_words_follow_from_the_routes(one, other, word):
    assert relate(spot_of(one), spot_of(other)) == relate(spot_of(other), spot_of(one)) == word


def test_other_host_bridges_are_told_apart_by_their_numa_nodes():
    one, other = "pci0000:17/a/d", "pci0000:97/b/e"
    assert relate(spot_of(one), spot_of(other, 1)) == "SYS"
    unknown = Missing(missing="the kernel does not tell the NUMA node")
    untold = relate(spot_of(one), spot_of(other, unknown))
    assert isinstance(untold, Missing)
    # Where there is only one, nothing is on another.
    assert relate(spot_of(one), spot_of(other, unknown), numa_nodes=1) == "NODE"


ROUTES = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(lambda parts: ("pci0", *parts))


@given(ROUTES, ROUTES, st.booleans())
def test_a_relation_is_one_of_the_words_and_symmetric(one, other, same):
    here, there = Spot(one, 0, ()), Spot(other if same else ("pci1", *other[1:]), 1, ())
    assert relate(here, there) == relate(there, here)
    assert relate(here, there) in FARNESS


def test_bus_ids_are_written_as_the_kernel_writes_them():
    assert normalise("00000000:1B:00.0") == "0000:1b:00.0"
    assert normalise("00010000:3B:00.0") == "10000:3b:00.0"
    assert normalise("what") == "what"


def test_what_is_no_pci_device_has_no_place(tmp_path):
    assert isinstance(locate(tmp_path / "gone"), Missing)
    assert locate(tmp_path) == Missing(missing=f"{tmp_path.name} is no PCI device")


# ---- NVML ----


def test_gpus_are_placed_by_their_bus_id(plant, tmp_path):
    plant(*make_gpus(pcie_generation=1, pcie_width=8))
    node = read(make_node(tmp_path / "sys").roots)
    assert [gpu.bus_id for gpu in node.gpus] == [route.rsplit("/", 1)[-1] for route in GPU_ROUTES]
    assert [gpu.numa_node for gpu in node.gpus] == [0, 0, 0, 1]
    assert node.gpus[3].cpus == tuple(range(8, 16))
    pcie = node.gpus[0].pcie
    assert (pcie.generation, pcie.width, pcie.max_generation, pcie.max_width) == (1, 8, 5, 16)
    assert node.gpus[0].nvlinks == ()
    assert NodeTopology.model_validate_json(node.model_dump_json()) == node


def test_the_whole_matrix_of_a_node(plant, tmp_path):
    plant(*make_gpus())
    words = words_of(read(make_node(tmp_path / "sys").roots))
    assert words == {
        ("GPU0", "GPU1"): "PXB",
        ("GPU0", "GPU2"): "PHB",
        ("GPU0", "GPU3"): "SYS",
        ("GPU1", "GPU2"): "PHB",
        ("GPU1", "GPU3"): "SYS",
        ("GPU2", "GPU3"): "SYS",
        ("GPU0", "mlx5_0"): "PIX",
        ("GPU1", "mlx5_0"): "PXB",
        ("GPU2", "mlx5_0"): "PHB",
        ("GPU3", "mlx5_0"): "SYS",
        ("GPU0", "eno1"): "NODE",
        ("GPU1", "eno1"): "NODE",
        ("GPU2", "eno1"): "NODE",
        ("GPU3", "eno1"): "SYS",
        ("mlx5_0", "eno1"): "NODE",
    }


def test_nvlinks_from_gpu_to_gpu_are_counted(plant, tmp_path):
    """Two between the first and the third, one of which is down; and one to a CPU."""
    first, second, third, fourth = make_gpus()
    ends = ((1, 0, third.bus_id), (1, 0, third.bus_id), (0, 0, third.bus_id), (1, 1, "00000000:00:00.0"))
    back = tuple((active, kind, first.bus_id) for active, kind, _ in ends[:3])
    linked = [
        Gpu(first.uuid, bus_id=first.bus_id, nvlinks=ends, ways=((third.uuid, 30, 0),)),
        second,
        Gpu(third.uuid, bus_id=third.bus_id, nvlinks=back),
        fourth,
    ]
    plant(*linked)
    node = read(make_node(tmp_path / "sys").roots)
    assert len(node.gpus[0].nvlinks) == 3
    [pair] = [one for one in node.relations if (one.one, one.other) == ("GPU0", "GPU2")]
    assert (pair.word, pair.peer) == ("NV2", "ok")
    assert words_of(node)["GPU0", "GPU1"] == "PXB"


def test_over_switches_all_gpus_reach_all(plant, tmp_path):
    """As of an HGX board of 18 links; one GPU has lost one of them. A switch need not tell its address."""
    gpus = make_gpus(nvlinks=((1, 2, SWITCH),) * 17 + ((1, 2, "-"),))
    lame = Gpu("GPU-3", bus_id=gpus[3].bus_id, nvlinks=((1, 2, SWITCH),) * 17 + ((0, 2, SWITCH),))
    plant(*gpus[:3], lame)
    node = read(make_node(tmp_path / "sys").roots)
    assert words_of(node)["GPU0", "GPU1"] == "NV18"
    assert words_of(node)["GPU0", "GPU3"] == "NV17"
    assert isinstance(node.gpus[0].nvlinks[17].to, Missing)


def test_nvlinks_that_nobody_tells_make_the_relation_missing(plant, tmp_path):
    plant(*make_gpus(errors=(Error("nvmlDeviceGetNvLinkState", NO_PERMISSION),)))
    node = read(make_node(tmp_path / "sys").roots)
    assert node.gpus[0].nvlinks == Missing(missing="NVML: Insufficient Permissions")
    assert words_of(node)["GPU0", "GPU1"] == Missing(missing="NVML: Insufficient Permissions")
    # To an adapter there is no NVLink.
    assert words_of(node)["GPU0", "mlx5_0"] == "PIX"


def test_where_the_kernel_does_not_show_gpus_the_driver_tells_how_near_they_are(plant, tmp_path):
    """As in a container without their devices in /sys."""
    first, second, *_ = make_gpus()
    plant(Gpu(first.uuid, bus_id=first.bus_id, ways=((second.uuid, 20, 5),)), second)
    node = read(Tree(tmp_path / "sys").roots)
    [pair] = node.relations
    assert (pair.word, pair.peer) == ("PXB", "not supported")
    assert isinstance(node.gpus[0].numa_node, Missing)


def test_one_gpu_that_does_not_answer_is_told(plant, tmp_path):
    gpus = make_gpus()
    gpus[1] = Gpu("GPU-1", bus_id=gpus[1].bus_id, errors=(Error("nvmlDeviceGetUUID", 15),))
    plant(*gpus)
    node = read(make_node(tmp_path / "sys").roots)
    assert [gpu.index for gpu in node.gpus] == [0, 2, 3]
    assert node.unseen == ("GPU 1: NVML: GPU is lost",)


def test_a_bus_id_is_found_by_uuid(plant):
    plant(*make_gpus())
    assert read_bus_id("GPU-1") == "00000000:1D:00.0"
    assert read_bus_id("1") == "00000000:1D:00.0"
    assert isinstance(read_bus_id("GPU-9"), Missing)


def test_without_nvml_there_are_no_gpus_only_where_the_bus_has_none(tmp_path):
    bare = Tree(tmp_path / "bare")
    bare.add_device("pci0000:00/0000:00:03.0", vendor="0x1af4", **{"class": "0x020000"})
    assert count_plugged(bare.roots.pci) == 0
    assert read(bare.roots, wiring=lambda: NO_NVML).gpus == ()
    full = make_node(tmp_path / "full")
    found = read(full.roots, wiring=lambda: NO_NVML).gpus
    assert found == Missing(missing="NVML: no driver; 4 of NVIDIA's are on the PCI bus")
    assert read(Tree(tmp_path / "none").roots, wiring=lambda: NO_NVML).gpus == NO_NVML


def test_a_driver_that_fails_is_missing(plant):
    plant(errors=(Error("nvmlInit", 9),))
    assert read_wiring() == Missing(missing="NVML: Driver Not Loaded")


@given(
    st.dictionaries(st.sampled_from(["numa_node", "local_cpulist", "vendor", "class"]), st.text(max_size=8))
)
def test_no_content_of_a_file_breaks_the_look(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("sys")
    tree = Tree(root)
    home = root / "devices" / "pci0000:00" / "0000:00:03.0"
    home.mkdir(parents=True)
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8", errors="replace")
    tree.add_interface("eth0", home, speed=files.get("vendor", "") or "x")
    node = read(tree.roots, wiring=lambda: Wiring((), (), ()))
    json.loads(node.model_dump_json())
