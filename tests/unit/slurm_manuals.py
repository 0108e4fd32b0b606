"""Slurm's outputs by version, written from its manuals and release notes, not recorded.

Each follows man sinfo, scontrol, squeue, sacct, srun, slurm.conf and RELEASE_NOTES of its version in what changed
between them: where srun lists its PMIs, which names scontrol has, which states there are, how nothing is spelled.
"""

from __future__ import annotations

from dataclasses import dataclass

# srun --mpi=list. Until 21.08 on standard error, each line with srun's name before it; then on standard output, the
# versions of PMIx apart.
OLD_LIST = "srun: MPI types are...\nsrun: cray_shasta\nsrun: none\nsrun: pmi2\nsrun: pmix\nsrun: pmix_v3\n"
NEW_LIST = (
    "MPI plugin types are...\n\tnone\n\tcray_shasta\n\tpmi2\n\tpmix\n"
    "specific pmix plugin versions available: {versions}\n"
)
NODE = (
    "NodeName=gpu01 Arch=x86_64 CoresPerSocket=32 {cpus} CPULoad=0.03 AvailableFeatures=a100,nvlink "
    "ActiveFeatures=a100,nvlink Gres=gpu:a100:4(S:0-1),nvme:1 NodeAddr=gpu01 NodeHostName=gpu01 Version={version} "
    "OS=Linux 4.18.0-553.el8.x86_64 #1 SMP Tue May 14 13:23:59 EDT 2024 RealMemory=515000 AllocMem=0 FreeMem=498013 "
    "Sockets=2 Boards=1 State=IDLE ThreadsPerCore=2 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=gpu,all "
    "BootTime=2026-11-01T08:00:00 SlurmdStartTime=2026-11-01T08:01:00{more} CfgTRES=cpu=128,mem=515000M,billing=128,"
    "gres/gpu=4 AllocTRES= CurrentWatts=0 AveWatts=0{tail}\n"
)
PARTITION = (
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=physics,bench AllowQos=high,low AllocNodes=ALL Default=YES "
    "QoS=N/A DefaultTime=00:30:00 DisableRootJobs=NO ExclusiveUser=NO {extra}GraceTime=0 Hidden=NO MaxNodes=UNLIMITED "
    "MaxTime=1-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED {sockets}Nodes=gpu[01-16] PriorityJobFactor=1 "
    "PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP "
    "TotalCPUs=2048 TotalNodes=16 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED "
    "MaxMemPerNode=UNLIMITED{tres}\n"
    "PartitionName=debug AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A "
    "DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=2 MaxTime=UNLIMITED "
    "MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=gpu[01-02] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO "
    "ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=DRAIN TotalCPUs=256 TotalNodes=2\n"
)
CONFIG = """\
Configuration data as of 2026-11-27T09:00:00
AccountingStorageBackupHost = (null)
AccountingStorageEnforce = {enforce}
AccountingStorageHost   = localhost
AccountingStorageType   = {storage}
AuthType                = auth/munge
ClusterName             = juno
GresTypes               = gpu
MpiDefault              = {default}
SLURM_CONF              = /etc/slurm/slurm.conf
SLURM_VERSION           = {version}
TopologyPlugin          = topology/tree

Slurmctld(primary) at slurm1 is UP
"""
# %P|%D|%c|%G|%l|%z and %m; a plus where nodes of a row differ (man sinfo).
SINFO = (
    "gpu*|12|128|gpu:a100:4(S:0-1)|1-00:00:00|2:32:2|515000\n"
    "gpu*|4|128+|gpu:a100:4(S:0-1)|1-00:00:00|2:32:2|257000+\n"
    "debug|2|128|gpu:a100:4(S:0-1)|infinite|2:32:2|515000\n"
)
SQUEUE = (
    "101|PENDING|0|0:00|N/A||Priority|\n"
    "102|RUNNING|0|1-02:03:04|2026-11-27T09:00:00|gpu[01-04]|None|\n"
    "103|{word}|{code}|0:10|2026-11-27T08:00:00|gpu01|{reason}|\n"
)
SACCT = (
    "101|PENDING|0:0|0|Unknown|None assigned|None\n"
    "102|RUNNING|0:0|93784|2026-11-27T09:00:00|gpu[01-04]|None\n"
    "103|{word}|{code}|10|2026-11-27T08:00:00|gpu01|None\n"
    "104|CANCELLED by 1000|0:0|17|2026-11-27T07:00:00|gpu02|None\n"
)


@dataclass(frozen=True)
class Release:
    """What one version prints. `word` is a state that came with it or shortly before, `over` whether it ends a job."""

    version: str
    pmi_list: str
    pmi: tuple[str, ...]
    node: str
    partition: str
    config: str
    unaccounted: str
    word: str
    over: bool
    node_states: str


def _make(
    version: str,
    *,
    pmix: str | None,
    word: str,
    over: bool,
    states: str,
    effective: bool,
    none: str = "accounting_storage/none",
    extra: str = "",
    more: str = "",
) -> Release:
    usual = ("none", "cray_shasta", "pmi2", "pmix")
    listed = NEW_LIST.format(versions=pmix) if pmix else OLD_LIST
    names = (*usual, *pmix.split(",")) if pmix else ("cray_shasta", "none", "pmi2", "pmix", "pmix_v3")
    cpus = "CPUAlloc=0 CPUEfctv=128 CPUTot=128" if effective else "CPUAlloc=0 CPUTot=128"
    common = {"version": version, "default": "pmix" if pmix else "none"}
    return Release(
        version=version,
        pmi_list=listed,
        pmi=names,
        node=NODE.format(
            cpus=cpus,
            version=version,
            more=more,
            tail=" Comment=OS=other NodeName=gpu99 Gres=gpu:9" if more else "",
        ),
        partition=PARTITION.format(
            extra=extra,
            sockets="MaxCPUsPerSocket=UNLIMITED " if extra else "",
            tres=" TRES=cpu=2048,mem=8240000M,node=16,billing=2048,gres/gpu=64" if effective else "",
        ),
        config=CONFIG.format(enforce="associations,limits", storage="accounting_storage/slurmdbd", **common),
        unaccounted=CONFIG.format(enforce="none", storage=none, **common),
        word=word,
        over=over,
        node_states=states,
    )


LAST_BUSY = " LastBusyTime=2026-11-27T08:59:00 ResumeAfterTime=None"
# 22.05: effective CPUs, LastBusyTime, TRES of partitions. 23.02: MaxCPUsPerSocket. 23.11: ExclusiveTopo. 24.11: a place
# of accounting that is none is (null).
RELEASES = (
    _make("20.11.9", pmix=None, word="NODE_FAIL", over=True, states="gpu01|idle|none\n", effective=False),
    _make(
        "21.08.8", pmix=None, word="OUT_OF_MEMORY", over=True, states="gpu01|planned|none\n", effective=False
    ),
    _make(
        "22.05.8",
        pmix="pmix_v4",
        word="DEADLINE",
        over=True,
        states="gpu01|mixed|none\n",
        effective=True,
        more=LAST_BUSY,
    ),
    _make(
        "23.02.7",
        pmix="pmix_v3,pmix_v4",
        word="BOOT_FAIL",
        over=True,
        states="gpu01|mixed-|none\n",
        effective=True,
        more=LAST_BUSY,
        extra="ExclusiveTopo=NO ",
    ),
    _make(
        "23.11.10",
        pmix="pmix_v5",
        word="STAGE_OUT",
        over=False,
        states="gpu01|idle~|none\n",
        effective=True,
        more=LAST_BUSY,
        extra="ExclusiveTopo=NO ",
    ),
    _make(
        "24.05.4",
        pmix="pmix_v4,pmix_v5",
        word="PREEMPTED",
        over=True,
        states="gpu01|idle#|none\n",
        effective=True,
        more=LAST_BUSY,
        extra="ExclusiveTopo=NO ",
    ),
    _make(
        "24.11.3",
        pmix="pmix_v5",
        word="POWER_UP_NODE",
        over=False,
        states="gpu01|reserved|none\n",
        effective=True,
        none="(null)",
        more=LAST_BUSY,
        extra="ExclusiveTopo=NO ",
    ),
    _make(
        "25.05.0",
        pmix="pmix_v5",
        word="EXPEDITING",
        over=False,
        states="gpu01|allocated|none\n",
        effective=True,
        none="(null)",
        more=LAST_BUSY,
        extra="ExclusiveTopo=NO ",
    ),
)
