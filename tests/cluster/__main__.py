"""``python -m tests.cluster up [--no-accounting] | down | status | env``: the test cluster by hand."""

from __future__ import annotations

import argparse
import shlex
import sys

from tests.cluster import daemons, slurm_cluster


def main() -> int:
    arguments = _parse()
    try:
        return int(ACTIONS[arguments.action](arguments))
    except slurm_cluster.ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--no-accounting", action="store_true", help="up: no slurmdbd, no database")
    return parser.parse_args()


def _up(arguments: argparse.Namespace) -> int:
    slurm_cluster.up(accounting=not arguments.no_accounting)
    print("Four nodes are up. To use them from this shell:\n", file=sys.stderr)
    return _env(arguments)


def _down(_: argparse.Namespace) -> int:
    slurm_cluster.down()
    return 0


def _status(_: argparse.Namespace) -> int:
    if not slurm_cluster.is_up():
        print("down")
        return 1
    print(f"up, accounting {'on' if slurm_cluster.has_accounting() else 'off'}")
    for node, state in daemons.states().items():
        print(f"{node} {state}")
    return 0


def _env(_: argparse.Namespace) -> int:
    for name, value in slurm_cluster.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


ACTIONS = {"up": _up, "down": _down, "status": _status, "env": _env}

if __name__ == "__main__":
    sys.exit(main())
