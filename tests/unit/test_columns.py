"""Steps as columns: the same as the records, whatever is torn, in whichever order the files come."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.columns import EMPTY, join_tables, parse_steps
from hpcdl.records import Step
from tests.unit.records_maker import make_step

SECONDS = st.floats(0, 1e6)
STEPS = st.builds(
    Step,
    rank=st.integers(0, 9000),
    step=st.integers(0, 10**6),
    warmup=st.booleans(),
    images=st.integers(0, 10**5),
    begin_s=st.floats(0, 1e9),
    input_s=SECONDS,
    compute_s=SECONDS,
    exchange_s=SECONDS,
    update_s=SECONDS,
    loss=st.none() | st.floats(-1e3, 1e3),
)


def write(steps):
    return b"".join(step.model_dump_json().encode() + b"\n" for step in steps)


def parse(text):
    torn = []
    table = parse_steps(text, lambda line, reason: torn.append((line, reason)))
    return table, torn


@given(st.lists(STEPS, max_size=8))
def test_columns_hold_what_the_records_hold(steps):
    table, torn = parse(write(steps))
    assert torn == []
    assert len(table) == len(steps)
    for index, step in enumerate(steps):
        for name, value in step.model_dump().items():
            read = getattr(table, name)[index]
            assert np.isnan(read) if value is None else read == value
        assert table.step_s[index] == step.step_s


@given(st.lists(STEPS, min_size=1, max_size=5), st.data())
def test_a_broken_line_is_told_and_spoils_no_other(steps, data):
    lines = write(steps).splitlines()
    at = data.draw(st.integers(0, len(lines)))
    rubbish = data.draw(st.sampled_from([b"{", b"[]", b'{"rank": 1}', b"\xff\x00", b"null", b"{}{}", b'"a"']))
    table, torn = parse(b"\n".join([*lines[:at], rubbish, *lines[at:]]))
    assert table.step.tolist() == [step.step for step in steps]
    assert [line for line, _ in torn] == [at + 1]


def test_two_steps_on_one_line_are_none():
    first, second = (make_step(0, step).model_dump_json().encode() for step in range(2))
    table, torn = parse(first + b"," + second + b"\n" + second)
    assert table.step.tolist() == [1]
    assert [line for line, _ in torn] == [1]


def test_a_number_beyond_its_column_is_no_step():
    step = json.loads(make_step(0, 1).model_dump_json())
    odd = [{"rank": -1}, {"rank": 99_999_999_999}, {"step": -3}, {"images": 2**40}]
    table, torn = parse("\n".join(json.dumps(step | one) for one in [*odd, {}]).encode())
    assert (len(table), len(torn)) == (1, 4)


def test_an_unknown_key_and_a_number_without_end_are_no_step():
    step = json.loads(make_step(0, 1).model_dump_json())
    table, torn = parse(
        (json.dumps(step | {"more": 1}) + "\n" + json.dumps(step | {"input_s": 1e999})).encode()
    )
    assert (len(table), len(torn)) == (0, 2)
    assert "more" in torn[0][1]


@given(st.permutations([(rank, step) for rank in range(3) for step in range(4)]), st.integers(1, 11))
def test_joined_tables_are_ordered_by_rank_and_step(places, cut):
    parts = [[make_step(*place) for place in part] for part in (places[:cut], places[cut:])]
    table = join_tables([parse(write(part))[0] for part in parts])
    assert list(zip(table.rank.tolist(), table.step.tolist(), strict=True)) == sorted(places)
    assert table.of_rank(1).step.tolist() == [0, 1, 2, 3]
    assert table.between(1, 3).step.tolist() == [1, 2] * 3
    assert len(table.of_rank(7)) == 0


def test_nothing_is_an_empty_table():
    assert len(join_tables([])) == 0
    assert join_tables([EMPTY]).measured.step.tolist() == []
