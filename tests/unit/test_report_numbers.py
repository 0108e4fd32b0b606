"""How numbers look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.records import Missing
from hpcdl.report.content import Curve, Quantity, Shares, Span
from hpcdl.report.numbers import find_missing, format_cell, format_number, format_value, sparkline, thin


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (45_910.3, "images/s", "45,910"),
        (158_934.0, "images/s", "158,900"),
        (29.314, "images/s", "29.31"),
        (9.99996, "images/s", "10.00"),
        (0.0, "images/s", "0"),
        (1.236, "s", "1.24 s"),
        (0.99951, "s", "1.00 s"),
        (0.0852, "s", "85.2 ms"),
        (0.000312, "s", "312 µs"),
        (3e-9, "s", "0.00300 µs"),
        (0.0, "s", "0 s"),
        (0.0314, "fraction", "3.1 %"),
        (1.0482, "fraction", "104.8 %"),
        (0.0002, "fraction", "<0.1 %"),
        (-0.0002, "fraction", ">-0.1 %"),
        (0.0, "fraction", "0.0 %"),
        (3.4567, "ratio", "3.46"),
        (6.9078, "loss", "6.908"),
        (0.031234, "loss", "0.03123"),
        (243_860_896, "bytes", "243.9 MB"),
        (999, "bytes", "999.0 B"),
        (4_135_610_496, "FLOP", "4.136 GFLOP"),
        (5e-4, "number", "0.0005"),
        (1e-5, "number", "1e-5"),
    ],
)
def test_units(value, unit, text):
    assert format_value(value, unit) == text


@given(st.floats(-1e12, 1e12, allow_nan=False).filter(lambda value: abs(value) > 1e-9))
def test_four_digits_are_within_half_a_unit_of_the_last(value):
    assert float(format_number(value).replace(",", "")) == pytest.approx(value, rel=5.1e-4)
    assert "e" not in format_number(value)


def test_missing_is_said_and_never_drawn_as_zero():
    absent = Quantity(Missing(missing="nobody looked"), "images/s")
    assert format_cell(absent) == "not published: nobody looked"
    assert format_cell(Span(absent, absent)) == "not published: nobody looked"
    for cell in (absent, Span(absent, absent), Shares((("input", "input", absent),))):
        assert find_missing(cell) == "nobody looked"
    assert find_missing(Quantity(0.0, "s")) is None
    assert format_cell(None) == ""


def test_marks_and_units_where_no_title_says_them():
    quantity = Quantity(1000.0, "images/s", "partial")
    assert format_cell(quantity) == "1,000"
    assert format_cell(quantity, with_unit=True) == "1,000 images/s (partial)"
    assert format_cell(Curve((2.0, 1.0), "loss"), with_unit=True) == "2.000 █▁ 1.000"
    assert format_cell(1234) == "1,234"


def test_sparklines():
    assert sparkline((0.0, 1.0, 0.5)) == "▁█▅"
    assert sparkline((3.0, 3.0)) == "▁▁"
    assert sparkline(()) == ""


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(2, 40))
def test_thinning_keeps_the_ends_and_the_bounds(values, count):
    thinned = thin(values, count)
    assert len(thinned) == min(len(values), count)
    if values:
        assert (thinned[0], thinned[-1]) == (values[0], values[-1])
        assert min(thinned) >= min(values) - 1e-6
        assert max(thinned) <= max(values) + 1e-6
