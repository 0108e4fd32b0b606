"""Which hardware threads share a core, read from a tree like the kernel's."""

from __future__ import annotations

import pytest

from hpcdl.processors import arrange_by_core, count_threads_per_core


@pytest.fixture
def sysfs(tmp_path):
    """Two sockets of two cores of two threads, numbered as Linux does: first threads first."""
    for cpu in range(8):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{cpu % 4 // 2}\n")
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    return tmp_path


def test_threads_of_a_core_stand_together(sysfs):
    assert arrange_by_core(range(8), sysfs) == [0, 4, 1, 5, 2, 6, 3, 7]


def test_threads_of_a_core_are_counted(sysfs):
    assert count_threads_per_core(range(8), sysfs) == 2


def test_a_mask_that_leaves_one_thread_of_a_core_leaves_one_for_all(sysfs):
    assert count_threads_per_core({0, 4, 1}, sysfs) == 1
    assert count_threads_per_core({0, 1, 2}, sysfs) == 1


def test_siblings_are_also_written_as_a_range(sysfs):
    for cpu in (0, 1):
        (sysfs / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text("0-1\n")
    assert arrange_by_core({1, 2, 0}, sysfs) == [0, 1, 2]
    assert count_threads_per_core({0, 1}, sysfs) == 2


def test_where_the_kernel_does_not_tell_each_thread_is_a_core(tmp_path):
    assert arrange_by_core({3, 1, 2}, tmp_path) == [1, 2, 3]
    assert count_threads_per_core({1, 2, 3}, tmp_path) == 1
    assert count_threads_per_core(set(), tmp_path) == 1
