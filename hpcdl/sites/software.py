"""Which evidence proves how jobs come to their software, and that it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.sites.witnesses import list_words, prove_finding, tell_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.sites.evidence import Evidence
    from hpcdl.sites.proofs import Verdict

# hpcdl/worker/delivery.py: in what each rank runs.
SOFTWARE_FINDING = "software as asked"


def _prove_image(evidence: Evidence, _: str) -> Verdict:
    """Each rank has said what it runs in, and refused what was not asked for."""
    told = tell_end(evidence)
    if evidence.environment is None and SOFTWARE_FINDING in told:
        return "refuted", told
    return prove_finding(evidence, SOFTWARE_FINDING)


def _prove_setup(evidence: Evidence, value: Any) -> Verdict:
    """The script ends where something cannot be loaded; what it does not use, it does not prove."""
    if evidence.refusal:
        return "not checked", "there was no job"
    parts = [str(part) for part in (value if isinstance(value, list | tuple) else [value])]
    if any(part not in evidence.script for part in parts):
        return "not checked", "the job script does not use it"
    if evidence.looks:
        return "proven", f"the job went on past it, and Python ran on {', '.join(evidence.hosts)}"
    blamed = any(part in evidence.said for part in parts)
    return ("refuted", evidence.said) if blamed else ("not checked", evidence.absence)


def _prove_delivery(evidence: Evidence, value: Any) -> Verdict:
    """What each rank found around itself; where ranks left no word of it, what the job script went past."""
    told = tell_end(evidence)
    if evidence.environment is None and SOFTWARE_FINDING in told:
        return "refuted", told
    found = prove_finding(evidence, SOFTWARE_FINDING)
    return _prove_setup(evidence, value) if evidence.environment is None else found


def _prove_python(evidence: Evidence, value: str) -> Verdict:
    versions = list_words(evidence, "version.python")
    if versions:
        return "proven", f"{' and '.join(versions)} on {', '.join(evidence.hosts)}"
    said = "Python" in evidence.said or value in evidence.said
    return ("refuted", evidence.said) if said else ("not checked", evidence.absence)


def _prove_hpcdl(evidence: Evidence, value: str) -> Verdict:
    seen = list_words(evidence, "version.hpcdl")
    if not seen:
        return "not checked", evidence.absence
    told = f"{' and '.join(seen)} on {', '.join(evidence.hosts)}"
    return ("proven" if seen == [value] else "refuted"), f"{told}; {value} here"


def _prove_library(name: str, without: str) -> Callable[[Evidence, Any], Verdict]:
    """Each node has it, in the same version; `without` says what does not work where it is lacking."""

    def prove_it(evidence: Evidence, _: Any) -> Verdict:
        if evidence.absence:
            return "not checked", evidence.absence
        lacking = [look.host for look in evidence.looks if f"version.{name}" not in look.words]
        if lacking:
            needed = name != "horovod" or evidence.world.train.engine == "horovod"
            return ("refuted" if needed else "not checked"), f"not on {', '.join(lacking)}: {without}"
        seen = list_words(evidence, f"version.{name}")
        return (
            "proven" if len(seen) == 1 else "refuted"
        ), f"{' and '.join(seen)}{_tell_loaded(evidence, name)}"

    return prove_it


def _tell_loaded(evidence: Evidence, name: str) -> str:
    versions = evidence.environment.versions if evidence.environment else None
    return ", loaded by the ranks" if getattr(versions, name, None) else ", found and not loaded"


SETUP: dict[str, Callable[[Evidence, Any], Verdict]] = {
    "setup.modules": _prove_delivery,
    "setup.spack": _prove_delivery,
    "setup.venv": _prove_delivery,
    "setup.spack_root": _prove_setup,
    "setup.lines": _prove_setup,
    "setup.python": _prove_python,
    "container.image": _prove_image,
}
SOFTWARE: dict[str, Callable[[Evidence, Any], Verdict]] = {
    "hpcdl": _prove_hpcdl,
    "torch": _prove_library("torch", "nothing trains without it"),
    "horovod": _prove_library("horovod", "--engine ddp does without"),
    "dali": _prove_library("dali", "only --data synthetic does without"),
}
