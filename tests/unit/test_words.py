"""Words that nodes say: read as tables where they are some, whatever they hold."""

from __future__ import annotations

from hpcdl.acceptance.words import cut, read_table, shorten


def test_a_table_is_read_and_nothing_else_is():
    assert read_table('{"torch": "2.13.0"}') == {"torch": "2.13.0"}
    assert read_table('["torch"]') is None
    assert read_table("6.18.44") is None


def test_a_word_that_is_nested_beyond_bounds_is_no_table():
    assert read_table("[" * 100_000) is None


def test_what_is_too_long_ends_in_an_ellipsis():
    assert cut("abcdef", 4) == "abc…"
    assert shorten("two\n words") == "two words"
