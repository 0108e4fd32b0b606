"""What runs on the nodes: the only place that imports torch, Horovod, DALI and MPI."""
