"""hpcdl: multi-node deep-learning benchmarks for Slurm clusters."""

__version__ = "0.1.0"
