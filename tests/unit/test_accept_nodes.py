"""What Slurm says of its nodes and switches, as sinfo and scontrol print it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.slurm import NodeWord, is_fit
from hpcdl.slurm.nodes import read_states, read_topology

# `sinfo --Node --all --noheader --format=%N|%T|%E` of Slurm 22.05, nodes in two partitions, one drained by hand.
SINFO = """\
node1|idle|none
node1|idle|none
node2|allocated|none
node2|allocated|none
node3|down*|Not responding
node3|down*|Not responding
node4|drained|hpcdl: a | test of "quotes
node4|drained|hpcdl: a | test of "quotes
"""
# `scontrol show topology` of slurm.conf(5)'s example of a tree.
TOPOLOGY = """\
SwitchName=s0 Level=0 LinkSpeed=1 Nodes=dev[0-5]
SwitchName=s1 Level=0 LinkSpeed=1 Nodes=dev[6-11]
SwitchName=s2 Level=1 LinkSpeed=1 Nodes=dev[0-11] Switches=s[0-1]
"""


def test_every_node_is_told_once_with_its_reason():
    assert list(read_states(SINFO).values()) == [
        NodeWord("node1", "idle"),
        NodeWord("node2", "allocated"),
        NodeWord("node3", "down*", "Not responding"),
        NodeWord("node4", "drained", 'hpcdl: a | test of "quotes'),
    ]


@pytest.mark.parametrize(
    "state", ["idle", "mixed", "allocated", "allocated+", "completing", "idle~", "idle#", "planned-"]
)
def test_these_can_be_had(state):
    assert is_fit(state)


@pytest.mark.parametrize(
    "state",
    [
        "down",
        "down*",
        "idle*",
        "drained",
        "draining",
        "drained*",
        "fail",
        "failing",
        "unknown",
        "inval",
        "idle%",
        "x",
    ],
)
def test_these_cannot(state):
    assert not is_fit(state)


def test_a_reserved_node_is_idle_for_those_who_have_the_reservation():
    word = NodeWord("n", "maint")
    assert word.is_fit
    assert word.can_begin(reserved=True)
    assert not word.can_begin(reserved=False)
    assert not NodeWord("n", "allocated").can_begin(reserved=True)


@given(st.text())
def test_no_text_upsets_the_readers(text):
    assert all(word.node == name for name, word in read_states(text).items())
    read_topology(text)
    is_fit(text)


def test_only_the_switches_that_nodes_hang_on():
    assert read_topology(TOPOLOGY) == {"s0": "dev[0-5]", "s1": "dev[6-11]"}
