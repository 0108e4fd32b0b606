"""The texts of the cluster's configuration files."""

from __future__ import annotations

import secrets

from tests.cluster import layout
from tests.cluster.processes import run

ACCOUNT = "bench"
CLUSTER = "hpcdl"

SLURM = """\
ClusterName={cluster}
SlurmctldHost={head}({head_address})
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge_socket}
CredType=cred/munge
StateSaveLocation={spool}/slurmctld
SlurmdSpoolDir={spool}/%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd-%n.pid
SlurmctldLogFile={log}/slurmctld.log
SlurmdLogFile={log}/slurmd-%n.log

# No control groups: the same on version 1, version 2 and none.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
JobRequeue=0
EnforcePartLimits=ALL

# Slurm's own KillWait, as most sites have it. A lost node is noticed sooner than after Slurm's five
# minutes, but not so soon that a busy machine looks like a lost one.
KillWait=30
SlurmdTimeout=60
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000

{accounting}
GresTypes=gpu
NodeName=DEFAULT Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mb} Gres=gpu:{gpus}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
PartitionName=short Nodes=ALL MaxTime=2 State=UP
"""

ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={head_address}
AccountingStoragePort={slurmdbd_port}
# With munge, the 'password' is the socket's path; AuthInfo is not asked here.
AccountingStoragePass={munge_socket}
AccountingStorageEnforce=associations,limits
AccountingStorageTRES=gres/gpu
"""

NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none\n"

SLURMDBD = """\
DbdHost={head}
DbdAddr={head_address}
DbdPort={slurmdbd_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={munge_socket}
PidFile={run}/slurmdbd.pid
LogFile={log}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""


def write(*, accounting: bool) -> None:
    """Write every configuration file, the hosts file, the munge key and the files that stand in for GPUs."""
    files = {
        "slurm.conf": _filled(SLURM, accounting=_filled(ACCOUNTING if accounting else NO_ACCOUNTING)),
        "slurmdbd.conf": _filled(SLURMDBD),
        "cgroup.conf": f"CgroupPlugin={_cgroup_plugin()}\n",
        "gres.conf": f"NodeName=node[1-4] Name=gpu File={layout.GPUS}/gpu[0-{layout.GPUS_PER_NODE - 1}]\n",
        "hosts": _hosts(),
    }
    for name, text in files.items():
        (layout.CONFIG / name).write_text(text)
    (layout.CONFIG / "slurmdbd.conf").chmod(0o600)
    _write_key()
    for index in range(layout.GPUS_PER_NODE):
        (layout.GPUS / f"gpu{index}").touch()


def _filled(template: str, accounting: str = "") -> str:
    return template.format(
        accounting=accounting,
        cluster=CLUSTER,
        head=layout.HEAD,
        head_address=layout.address(layout.HEAD),
        slurmctld_port=layout.SLURMCTLD_PORT,
        slurmd_port=layout.SLURMD_PORT,
        slurmdbd_port=layout.SLURMDBD_PORT,
        munge_socket=layout.MUNGE_SOCKET,
        spool=layout.SPOOL,
        run=layout.RUN,
        log=layout.LOG,
        cpus=layout.CPUS_PER_NODE,
        gpus=layout.GPUS_PER_NODE,
        memory_mb=layout.MEMORY_PER_NODE_MB,
        nodes="\n".join(f"NodeName={node} NodeAddr={layout.address(node)}" for node in layout.NODES),
    )


def _hosts() -> str:
    hosts = (layout.HEAD, *layout.NODES)
    return "127.0.0.1 localhost\n" + "".join(f"{layout.address(host)} {host}\n" for host in hosts)


def _write_key() -> None:
    key = layout.MUNGE / "key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))


def _cgroup_plugin() -> str:
    """A plugin that touches no control group: 'disabled' from Slurm 23.11 on.

    Before that, version 1's, which looks at no file as long as nothing asks it to track, whereas
    version 2's wants systemd.
    """
    major, minor = run(["slurmctld", "-V"]).split()[-1].split(".")[:2]
    return "disabled" if (int(major), int(minor)) >= (23, 11) else "cgroup/v1"
