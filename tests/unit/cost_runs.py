"""Runs with energy and prices, on CPUs and on GPUs. All prices here are invented."""

from __future__ import annotations

from hpcdl.metering import Source
from tests.unit.records_maker import Recording, record, write_run, write_trace

# A node costs 0.001 a second over its life at full use: 31,557.6 over the 31,557,600 s of a year.
COST = {
    "currency": "EUR",
    "electricity_per_kwh": {"value": 0.5, "low": 0.25, "high": 1.0, "date": "2026-01", "source": "invented"},
    "node_price": 31_557.6,
    "lifetime_years": 1,
    "utilisation": 0.5,
    "carbon_kg_per_kwh": 0.6,
}
# Two sockets of four cores; eight threads fill them.
TWO_SOCKETS = {
    "sockets": (0, 1),
    "sockets_of_host": 2,
    "cores": tuple(range(8)),
    "cores_of_host": 8,
    "vector": "AVX512",
    "vector_of_cpu": "AVX512",
}
LIBRARIES = {"onednn": "3.12.0", "blas": "MKL 2024.2"}


def meter_of(name, covers, **changes):
    fields = {"sensor": "rapl", "counter": True, "counter_step_j": 1e-6, "update_s": 0.1}
    return Source(**{"name": name, "covers": covers} | fields | changes)


def gpu_of(host, place):
    uuid = f"GPU-{host}-{place}"
    return meter_of(uuid, "gpu", sensor="nvml", uuid=uuid)


def estimate_of(name="CPU (estimated)"):
    return Source(name=name, sensor="estimate", covers="package", basis="TDP 225 W, idle 60 W")


def steady(watts):
    return lambda at_s: {"energy_j": watts * at_s}


def estimated(watts):
    return lambda at_s: {"power_w": watts, "power_low_w": 0.8 * watts, "power_high_w": 1.2 * watts}


def packages(host="node1", watts=200.0):
    """CPU packages and memory: 0.8 of the watts and the rest."""
    return {
        meter_of("package 0", "package"): steady(0.8 * watts),
        meter_of("dram 0", "dram"): steady(0.2 * watts),
    }


def boards(host="node1", count=2, watts=300.0):
    return {gpu_of(host, place): steady(watts) for place in range(count)}


def write(
    store, meters=None, *, how=None, rates=(1000.0,), nodes=(1,), site=None, cost=COST, run_id="r", **asked
):
    """A run of one launch for each rate; `meters` is host -> sources, or None where nothing is sampled."""
    where = {"cost": cost} | (site or {})
    run = write_run(store, nodes=nodes, power=meters is not None, site=where, run_id=run_id, **asked)
    for index, rate in enumerate(rates, start=1):
        launch = run.job().launches[index - 1]
        hosts = [f"node{number + 1}" for number in range(launch.nodes)]
        folder = record(
            run, index, Recording(images_per_s=rate, clocks_s=dict.fromkeys(hosts, 0.0), **(how or {}))
        )
        for host in hosts if meters is not None else []:
            boot_id = "0f1e2d3c-0000" if (how or {}).get("one_machine") else None
            sources = meters.get(host, {})
            write_trace(folder, host, sources, begin_s=95.0, end_s=400.0, boot_id=boot_id)
    return run


def write_cpu(store, **changes):
    """One node of two sockets: 100 images/s at 200 W."""
    how = {"host": TWO_SOCKETS, "versions": LIBRARIES} | changes.pop("how", {})
    options = {"meters": {"node1": packages()}, "rates": (100.0,), "run_id": "run-cpu", "batch": 64} | changes
    return write(store, how=how, **options)


def write_gpu(store, **changes):
    """One node of two GPUs beside the same sockets: 10,000 images/s at 600 W of boards and 100 W of sockets."""
    how = {"device": "gpu", "host": TWO_SOCKETS, "versions": LIBRARIES, "transport": "nccl"} | changes.pop(
        "how", {}
    )
    site = {"node": {"gpus": 2, "cores": 8}} | changes.pop("site", {})
    meters = {"node1": boards() | packages(watts=100.0)}
    options = {"meters": meters, "rates": (10_000.0,), "run_id": "run-gpu", "tasks_per_node": 2, "batch": 64}
    return write(store, how=how, site=site, **{"steps": 400} | options | changes)
