"""Verdicts for CI systems: read back, and nothing goes green that was not passed."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.acceptance.verdict import Decision, Requirement, Verdict
from hpcdl.certificate.junit import render_junit, write_junit
from hpcdl.errors import Mistake

# Of the elements that hpcdl writes, what junit-10.xsd of Jenkins' xUnit plugin lets them have, and in them.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {
            "name",
            "tests",
            "failures",
            "errors",
            "time",
            "disabled",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
        },
        {"testcase", "properties", "system-out", "system-err"},
    ),
    "testcase": ({"name", "classname", "assertions", "time", "status"}, {"skipped", "error", "failure"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message", "type"}, set()),
}


def decide(unit, outcome, reason="", **facts):
    return Decision(unit=unit, nodes=(unit,), outcome=outcome, reason=reason, **facts)


def require(name, outcome, *decisions, severity="required"):
    return Requirement(
        criterion=name,
        metric="train.lenet.images_per_s",
        severity=severity,
        asked="at least 80 % of the fleet's median",
        outcome=outcome,
        decisions=decisions,
    )


def conclude(*requirements):
    return Verdict(
        outcome="fail", requirements=requirements, comparisons=1, false_alarms=0.0, nodes=("node1",)
    )


MIXED = conclude(
    require(
        "speed",
        "fail",
        decide("node1", "pass", value=0.99, threshold=0.8, relative=True, samples=3),
        decide(
            "node2",
            "fail",
            "it is 60 % of it",
            value=0.6,
            low=0.58,
            high=0.62,
            threshold=0.8,
            relative=True,
            samples=3,
        ),
        decide("node3", "insufficient", "torch cannot be loaded"),
    ),
    require("hint", "fail", decide("node1", "fail", "slow"), severity="advisory"),
    require("gpu", "not applicable"),
    require("nothing", "insufficient"),
)


def read(verdict):
    return ET.fromstring(render_junit(verdict))  # noqa: S314 (our own)


def test_outcomes_as_ci_has_them():
    whole = read(MIXED)
    assert whole.attrib == {"name": "hpcdl acceptance", "tests": "6", "failures": "1", "errors": "2"}
    cases = {(suite.get("name"), case.get("name")): case for suite in whole for case in suite}
    assert list(cases["speed", "node1"]) == []
    (failure,) = cases["speed", "node2"]
    assert (failure.tag, failure.get("type"), failure.get("message")) == (
        "failure",
        "fail",
        "it is 60 % of it",
    )
    assert "seen: 60.0 %, 58.0 % to 62.0 %; line: 80.0 %; 3 samples" in failure.text
    # Not enough evidence is an error: what is skipped would go green.
    (error,) = cases["speed", "node3"]
    assert (error.tag, error.get("type"), error.get("message")) == (
        "error",
        "insufficient evidence",
        "torch cannot be loaded",
    )
    assert cases["nothing", "all"][0].tag == "error"
    assert cases["hint", "node1"][0].tag == cases["gpu", "all"][0].tag == "skipped"


def test_it_has_what_the_schema_knows_and_sums_that_fit():
    whole = read(MIXED)
    for element in whole.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
    for suite in whole:
        assert int(suite.get("tests")) == len(suite)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name)) == len(suite.findall(f"*/{tag}"))


@given(st.text())
def test_whatever_records_say_is_readable_xml(text):
    whole = read(conclude(require("c", "fail", decide(text, "fail", text))))
    shown = whole[0][0].get("name")
    assert all(letter.isprintable() or letter in "\t\n\r" or ord(letter) >= 0x7F for letter in shown)
    if text.isascii() and text.isprintable():
        assert shown == text


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(Mistake, match="could not be written"):
        write_junit(MIXED, tmp_path / "no" / "where.xml")
