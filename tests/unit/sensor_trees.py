"""Trees like the kernel's for sensors to look at, and a stand-in for NVML."""

from __future__ import annotations

from types import SimpleNamespace

from hpcdl.metering import Look


def write(root, files):
    """A tree of small files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def sources_of(opened):
    return {source.name: source for source in opened.sensor.sources}


def look_at(sensor):
    """One look, which the records' schema has to take."""
    looks = sensor.look(closely=False)
    assert set(looks) == {source.name for source in sensor.sources}
    for look in looks.values():
        Look.model_validate(look)
    return looks


def make_cpuinfo(
    name,
    *,
    cpus=4,
    sockets=1,
    threads_per_core=2,
    family=6,
    model=143,
    stepping=8,
    virtual=False,
    vendor=None,
):
    """As x86 shows it, threads of a core side by side."""
    vendor = vendor or ("AuthenticAMD" if "AMD" in name else "GenuineIntel")
    per_socket = cpus // sockets
    blocks = [
        f"processor\t: {cpu}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: {name}\nstepping\t: {stepping}\nphysical id\t: {cpu // per_socket}\n"
        f"siblings\t: {per_socket}\ncpu cores\t: {per_socket // threads_per_core}\n"
        f"flags\t\t: fpu ht{' hypervisor' if virtual else ''} lm\n"
        for cpu in range(cpus)
    ]
    return "\n".join(blocks)


ANONYMOUS = make_cpuinfo(
    "Intel(R) Xeon(R) Processor", cpus=2, threads_per_core=1, model=207, stepping=2, virtual=True
)


def write_stat(root, *busy_and_idle):
    lines = [f"cpu{cpu} {busy} 0 0 {idle} 0 0 0 0 0 0" for cpu, (busy, idle) in enumerate(busy_and_idle)]
    write(root, {"proc/stat": "\n".join(["cpu  1 2 3 4 5 6 7 8", *lines, "intr 5 0 0", "ctxt 9"])})


def make_pynvml(utilisation=30, lost=None):
    class NvmlError(Exception):
        pass

    def rates(handle):
        if lost:
            raise NvmlError(lost)
        return SimpleNamespace(gpu=utilisation)

    closed = []
    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetUtilizationRates=rates,
        nvmlShutdown=lambda: closed.append(True),
        closed=closed,
    )
