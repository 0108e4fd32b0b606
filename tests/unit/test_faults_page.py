"""docs/faults.md and the tests agree: every test that it names is there, and every fault has one or says why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
UNTESTED = "cannot be shown here"


def list_rows():
    """The rows of the table of faults: fault, what hpcdl does, tests, what was seen."""
    lines = (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| "))
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if row[0] != "fault"]


def list_tests(path):
    return {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef)
    }


def test_every_test_that_is_named_exists():
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 40
    assert [f"{path}::{name}" for path, name in named if name not in list_tests(path)] == []
    assert all(name.startswith("test_") for _, name in named)


def test_every_fault_has_a_test_and_something_that_was_seen():
    rows = list_rows()
    assert len(rows) >= 27
    for row in rows:
        assert len(row) == 4, row
        assert NAMED.search(row[2]) or UNTESTED in row[2], row[0]
        assert row[3], row[0]
