"""The networks, as plain layer tables: importing this package imports no torch.

A new network is a module with its table and one line in NETWORKS.
"""

from __future__ import annotations

from hpcdl.errors import UnknownName
from hpcdl.networks.alexnet import ALEXNET, ALEXNET_OWT
from hpcdl.networks.lenet import LENET
from hpcdl.networks.network import Network, Normalisation, Row
from hpcdl.networks.overfeat import OVERFEAT, OVERFEAT_FAST
from hpcdl.networks.recipe import Recipe
from hpcdl.networks.stages import Stage, stages

__all__ = ["NETWORKS", "Network", "Normalisation", "Recipe", "Row", "Stage", "find", "stages"]

NETWORKS = {
    "alexnet": ALEXNET,
    "alexnet-owt": ALEXNET_OWT,
    "overfeat": OVERFEAT,
    "overfeat-fast": OVERFEAT_FAST,
    "lenet": LENET,
}


def find(name: str) -> Network:
    """The network of that name or published alias. Raises UnknownName, which suggests the nearest."""
    if name in NETWORKS:
        return NETWORKS[name]
    for network in NETWORKS.values():
        if name in network.aliases:
            return network
    raise UnknownName("network", name, NETWORKS)
