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


def tell_story(ending: Ending, progress: Progress, lost: Sequence[str] = ()) -> str:
    """How the launch ended, what is left of it, and what to do; empty where nothing went wrong.

    Args:
        ending: As the exit records have it.
        progress: How far it came.
        lost: The hosts of which no rank has left an exit record, where others have.
    """
    ended_early = ending.state in {"failed", "stopped", "lost"}
    if not (ended_early and ending.story):
        return ending.story
    done = progress.steps_done
    kept = f" {'1 step is' if done == 1 else f'{done} steps are'} kept, marked partial." if done else ""
    hosts = ",".join(lost)
    without = f" To try again without: hpcdl submit … --exclude {hosts}." if hosts else ""
    return f"{ending.story}{kept}{without}"


def find_lost(ending: Ending, environment: Environment | None) -> tuple[str, ...]:
    """The hosts that vanished with all their ranks, in the order of ranks; none where that cannot be told.

    Where every host is silent, it was not the hosts.
    """
    if ending.state != "lost" or environment is None:
        return ()
    silent = set(ending.silent)
    spoke = {host.host for host in environment.hosts if host.rank not in silent}
    gone = dict.fromkeys(host.host for host in environment.hosts if host.host not in spoke)
    return tuple(gone) if spoke else ()


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
