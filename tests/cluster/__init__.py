"""A real Slurm cluster on one machine: four nodes in namespaces of their own.

From Python: ``from tests.cluster import slurm_cluster``. From a shell, at the repository's root:
``python -m tests.cluster up | down | status | env``.
"""
