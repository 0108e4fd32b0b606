"""Site files: written from what Slurm tells, shown with the source of each value, proven by a job of a minute."""
