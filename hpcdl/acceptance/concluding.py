"""The folder of an acceptance -> what follows from it: the one way by which verdicts are made, and made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hpcdl.acceptance.baselines import read_references

if TYPE_CHECKING:
    from collections.abc import Collection

    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.folder import Acceptance, AcceptanceFolder
    from hpcdl.acceptance.verdict import Verdict


@dataclass(frozen=True)
class Conclusion:
    """What was asked, what was seen, and what follows."""

    asked: Acceptance
    evidence: Evidence
    verdict: Verdict


class Conclude(Protocol):
    """What makes a verdict from a folder."""

    def __call__(self, folder: AcceptanceFolder, *, final: bool) -> Conclusion:
        """See `conclude`."""


def conclude(folder: AcceptanceFolder, *, final: bool, running: Collection[str] = ()) -> Conclusion:
    """Gather the records of an acceptance, and judge them.

    Args:
        folder: The acceptance, or its copy in a certificate.
        final: No more jobs will follow.
        running: Jobs of which more may come; of all others, what is not recorded will not be.

    Raises:
        Mistake: A record that must be there cannot be read.
    """
    from hpcdl.acceptance.gathering import gather
    from hpcdl.acceptance.judging import judge

    asked = folder.asked()
    evidence = gather(folder.runs.runs(), folder.fleet(), states=folder.states(), running=running)
    path = folder.references_path
    references = read_references(path) if path.is_file() else None
    return Conclusion(asked, evidence, judge(asked.suite, evidence, references, final=final))
