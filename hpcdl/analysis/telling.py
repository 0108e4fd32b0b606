"""What a launch's records mean, in words: why it has no figures, how it ended, what to know before trusting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.steps import tell_divergence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.ending import Ending
    from hpcdl.analysis.gate import Check
    from hpcdl.analysis.steps import Progress
    from hpcdl.records import Environment


def why_unfinished(ending: Ending, progress: Progress, *, restarts: int, with_steps: bool) -> str | None:
    """Why there is no complete measurement; None where there is one. Without its steps, nobody counted them."""
    if ending.state == "completed":
        return tell_restart(restarts) if restarts else None
    done = f" ({progress.text})" if with_steps else ""
    after = f" after {progress.text}" if with_steps else ""
    return {
        "planned": "the launch has not started",
        "running": f"the launch is still running{done}",
        "refused": "the launch found itself unfit to be measured",
        "lost": f"the launch was lost{after}",
    }.get(ending.state, f"the launch stopped{after}")


def tell_restart(restarts: int) -> str:
    """Why a launch that Slurm began anew has no figures."""
    times = "once" if restarts == 1 else f"{restarts} times"
    return f"the launch was restarted {times}: a restarted measurement is not a measurement"


def tell_story(ending: Ending, progress: Progress) -> str:
    """How the launch ended, and what is left of it; empty where nothing went wrong."""
    ended_early = ending.state in {"failed", "stopped", "lost"}
    if not (ended_early and ending.story and progress.steps_done):
        return ending.story
    kept = "1 step is" if progress.steps_done == 1 else f"{progress.steps_done} steps are"
    return f"{ending.story} {kept} kept, marked partial."


def list_findings(
    checks: Sequence[Check], *, restarts: int, diverged: int | None, finished: bool
) -> Iterator[str]:
    """What is worth a sentence beside the figures; why the launch itself did not finish is its story.

    Args:
        checks: The gate's, completion first.
        restarts: How often Slurm began it anew.
        diverged: The first step whose loss was not a number.
        finished: There is a window to have looked at.
    """
    for check in checks[1:]:
        if check.outcome == "failed":
            yield check.detail
        elif check.outcome == "could not look" and not check.needed and finished:
            yield f"could not look: {check.name}: {check.detail}"
    if restarts:
        yield tell_restart(restarts)
    if diverged is not None:
        yield tell_divergence(diverged)


def tell_far_ranks(environment: Environment | None) -> tuple[str, ...]:
    """Ranks whose hardware threads are all far from their GPU: what they say of it, and what can be done."""
    hosts = environment.hosts if environment else ()
    bound = [(host, host.binding) for host in hosts if host.binding and host.binding.near == "none"]
    if not bound:
        return ()
    (first, binding), several = bound[0], len(bound) > 1
    name = f"rank {first.rank} ({first.host})"
    who = f"{len(bound)} of {len(hosts)} ranks run far from their GPUs; the first is {name}"
    told = who if several else f"{name} runs far from its GPU"
    remedy = "without cpu_bind in [slurm] of the site file, ranks choose cores near their GPUs"
    return (f"{told}: {binding.detail}; {remedy}",)
