"""Queries over rows: what they select, how they go wrong, and that no text can do more than compare."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcdl.analysis.catalogue import select_runs
from hpcdl.analysis.query import FUNCTIONS, find_rows
from hpcdl.analysis.rows import COLUMNS
from hpcdl.errors import Mistake
from hpcdl.store import Store
from hpcdl.stores import Stores
from tests.unit.records_maker import Recording, record, write_run


class Made:
    """Rows from a few columns; the others are empty."""

    def __init__(self, **columns):
        self.columns = columns
        self.count = len(next(iter(columns.values())))

    def column(self, name):
        return self.columns.get(name, [None] * self.count)


ROWS = Made(
    run_id=["a", "b", "c", "d"],
    model=["alexnet", "alexnet", "lenet", None],
    nodes=[1, 4, 2, 8],
    rehearsal=[0, 1, 0, 1],
    images_per_s=[100.0, 390.5, None, 2**70 * 1.0],
    tags=["", "nightly", "nightly,v2", ""],
    time=["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"],
)

SELECTED = {
    "model='alexnet' and nodes>1": [1],
    "nodes in (1, 2)": [0, 2],
    "nodes = '4'": [1],
    "images_per_s is null": [2],
    "images_per_s > 100": [1, 3],
    "model like 'ALEX%'": [0, 1],
    "not rehearsal": [0, 2],
    "tags like '%nightly%'": [1, 2],
    "time >= '2026-12'": [2, 3],
    "upper(model) = 'LENET' -- a comment": [2],
    "MODEL = 'lenet' or Nodes between 7 and 9": [2, 3],
    "coalesce(model, '') = ''": [3],
    "case when nodes > 2 then 1 else 0 end": [1, 3],
    "1": [0, 1, 2, 3],
}


@pytest.mark.parametrize(("where", "places"), SELECTED.items(), ids=SELECTED)
def test_selected(where, places):
    assert find_rows(ROWS, where) == places


def test_nothing_is_selected():
    assert find_rows(ROWS, "nodes > 100") == []


MISTAKES = {
    "modell='alexnet'": "there is no column 'modell'. Did you mean 'model'? A word",
    "model=alexnet": "A word is written in quotes: model='alexnet'. Columns: run_id, ",
    "model='alexnet": "a quotation mark is not closed. Write it like",
    'model="alexnet': "a quotation mark is not closed",
    "nodes >": "it ends too early",
    "nodes > 1 and": "it ends too early. Write it like",
    "(nodes > 1 -- and": "it ends too early",
    "modell = 1 and": "it ends too early",
    "nodes > 1)": 'this cannot be read: near ")"',
    "nodes > ()": 'this cannot be read: near ")"',
    "": "it ends too early",
    "nodes > 1; drop table launches": "one statement at a time|syntax error",
    "nodes > (select max(nodes) from launches)": "it may not hold a query within the query",
    "1) union select 1 from launches where (1": "it may not hold a query within the query",
    "exists (select 1 from sqlite_master)": "a query within the query",
    "load_extension('x')": "it may not hold the function load_extension()|not authorized|no such function",
    "randomblob(1000000000)": "it may not hold the function randomblob()",
    "zeroblob(1000000000) is null": "it may not hold the function zeroblob()",
    "replace(model, 'a', 'bbbb')": "it may not hold the function replace()",
    "count(*) > 1": "it may not hold the function count()",
    "nosuch(model)": "no such function: nosuch",
    "nodes = ?": "this cannot be read",
    "model match 'a'": "it may not hold|cannot be read",
    "nodes = '\0'": "this cannot be read",
    "nodes = '\ud800'": "this cannot be read",
    "(" * 500 + "1" + ")" * 500: "this cannot be read",
    "1 or " * 3000 + "1": "15,001 characters are too many",
}


@pytest.mark.parametrize("where", MISTAKES, ids=[name[:40] for name in MISTAKES])
def test_mistakes(where):
    with pytest.raises(Mistake) as caught:
        find_rows(ROWS, where)
    assert any(words in str(caught.value) for words in MISTAKES[where].split("|"))
    assert "Traceback" not in str(caught.value)


def test_what_takes_too_long_is_ended():
    many = Made(run_id=[str(place) for place in range(200_000)], model=["a" * 500] * 200_000)
    slow = " and ".join(["model like '%b%a%b%'"] * 20 + ["1"]).replace(" and ", " or ")
    began_s = time.monotonic()
    with pytest.raises(Mistake, match=r"longer than 0\.05 s"):
        find_rows(many, slow, limit_s=0.05)
    assert time.monotonic() - began_s < 30


LANGUAGE = r"""
( ) , ; -- /* */ ' " ? :a @b = < > || and or not null in like glob between case when then end select from where union
all with recursive values insert into delete update drop table create pragma attach database 'x.db' as vacuum begin
commit launches sqlite_master rowid 1 2 0.5 -1 x'00'
"""
WORDS = st.sampled_from([*list(COLUMNS)[:12], *sorted(FUNCTIONS)[:12], *LANGUAGE.split()])
TEXTS = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=14).map(" ".join))


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example("1) ; attach database '/tmp/x' as x; --")
@example("1 in (values(1))")
@example("1) limit (2")
def test_any_text_selects_rows_or_is_a_mistake(text):
    before = {name: list(values) for name, values in ROWS.columns.items()}
    try:
        places = find_rows(ROWS, text)
    except Mistake:
        places = []
    assert set(places) <= {0, 1, 2, 3}
    assert ROWS.columns == before


def test_no_file_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("1); attach 'x.db' as x; --", "1) ; vacuum into 'y.db'; --", "writefile('z', 'z')"):
        with pytest.raises(Mistake):
            find_rows(ROWS, text)
    assert list(tmp_path.iterdir()) == []


def test_runs_are_selected_by_their_launches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "runs"
    for run_id, nodes in (("20261122-141200-aaaa", (1, 2)), ("20261123-141200-bbbb", (1,))):
        run = write_run(root, run_id=run_id, nodes=nodes)
        for index in range(1, len(nodes) + 1):
            record(run, index, Recording())
    stores = Stores([Store(root)])
    assert [run.run_id for run in select_runs(stores, "nodes=1")] == [
        "20261122-141200-aaaa",
        "20261123-141200-bbbb",
    ]
    assert [run.run_id for run in select_runs(stores, "nodes=2")] == ["20261122-141200-aaaa"]
    with pytest.raises(Mistake) as caught:
        select_runs(stores, "nodes=3")
    assert "no run fits" in str(caught.value)
    assert "There are 3 launches: model alexnet (3); nodes 1 (2), 2 (1); state completed (3)" in str(
        caught.value
    )
    with pytest.raises(Mistake, match="There are no runs at all"):
        select_runs(Stores([Store(tmp_path / "none")]), "nodes=3")
