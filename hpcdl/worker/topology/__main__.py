"""`python -m hpcdl.worker.topology` prints the wiring of this machine as one JSON line."""

from __future__ import annotations

from hpcdl.worker.topology.node import read

if __name__ == "__main__":
    print(read().model_dump_json())
