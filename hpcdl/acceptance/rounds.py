"""What one job of an acceptance is for, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl.plan import cluster_sizes, local_sizes

if TYPE_CHECKING:
    from hpcdl.acceptance.metrics import Test
    from hpcdl.plan import Launcher, Size
    from hpcdl.site import Site
    from hpcdl.spec import Benchmark

# first: all that is asked, on all nodes; node: one of many jobs of one node; added: nodes that joined later.
RoundKind = Literal["first", "node", "added", "rerun", "bisection", "switch"]
TESTS: tuple[Test, ...] = ("node", "links", "scaling", "convergence")


@dataclass(frozen=True)
class Round:
    """What one job of an acceptance is for: which tests, on which nodes.

    Without `nodes` it is any `count` of them but those of `without`. `switch` is whose nodes they are.
    """

    kind: RoundKind
    tests: tuple[Test, ...]
    count: int
    nodes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    switch: str = ""


@dataclass(frozen=True)
class Ground:
    """Where launches are to run: the site with nothing left open, the cores of a node, and what starts the ranks."""

    site: Site
    cores: int
    launcher: Launcher
    longest_s: int | None = None

    def sizes(self, benchmark: Benchmark) -> tuple[Size, ...]:
        """One for each of the benchmark's numbers of nodes; on this machine, of ranks.

        Raises:
            Mistake: More tasks than cores, or than GPUs.
        """
        size = cluster_sizes if self.launcher == "srun" else local_sizes
        return size(benchmark, self.site, cores=self.cores)

    def count_tasks(self) -> int:
        """Ranks on one node where nothing else is asked for."""
        gpus = self.site.node.gpus or 0
        return (self.site.node.tasks_per_node or gpus or 1) if self.launcher == "srun" else gpus or 1
