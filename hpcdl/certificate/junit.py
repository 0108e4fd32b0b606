"""A verdict as JUnit's XML, as CI systems read it (the schema of Jenkins' xUnit plugin, junit-10.xsd).

A requirement is a suite, a unit a case. What failed is a failure; what could not be told is an error, since nothing may
go green by it. What is advisory, and what does not apply, is skipped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hpcdl.durable import publish
from hpcdl.errors import Failure, Mistake
from hpcdl.report.requirements import describe_decision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcdl.acceptance.verdict import Decision, Requirement, Verdict

# What XML 1.0 cannot hold (section 2.2).
_STRANGE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def write_junit(verdict: Verdict, path: Path) -> None:
    """Write a verdict for a CI system.

    Raises:
        Mistake: It cannot be written there.
    """
    try:
        publish(path, render_junit(verdict))
    except Failure as problem:
        raise Mistake(problem.what, do="Name another place with --junit.") from None


def render_junit(verdict: Verdict) -> bytes:
    """A verdict as XML in UTF-8."""
    suites = [_make_suite(requirement) for requirement in verdict.requirements]
    whole = ET.Element("testsuites", name="hpcdl acceptance")
    for count in ("tests", "failures", "errors"):
        whole.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    whole.extend(suites)
    ET.indent(whole)
    written: bytes = ET.tostring(whole, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _make_suite(requirement: Requirement) -> ET.Element:
    name = _clean(requirement.criterion)
    cases = [_make_case(requirement, *case) for case in _list_cases(requirement)]
    suite = ET.Element("testsuite", name=name, tests=str(len(cases)))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def _list_cases(requirement: Requirement) -> Iterator[tuple[str, str, str, str]]:
    """Unit, outcome, what to say in short, and at length."""
    for decision in requirement.decisions:
        yield decision.unit, decision.outcome, _summarise(decision), describe_decision(requirement, decision)
    if not requirement.decisions:
        words = (
            "its hardware is in no node" if requirement.outcome == "not applicable" else "nothing was decided"
        )
        yield "all", requirement.outcome, words, requirement.asked


def _summarise(decision: Decision) -> str:
    return decision.reason or {"fail": "it does not hold", "insufficient": "not enough evidence"}.get(
        decision.outcome, ""
    )


def _make_case(requirement: Requirement, unit: str, outcome: str, short: str, long: str) -> ET.Element:
    case = ET.Element(
        "testcase", name=_clean(unit), classname=_clean(f"{requirement.metric}.{requirement.criterion}")
    )
    if outcome == "pass":
        return case
    if outcome == "not applicable" or requirement.severity == "advisory":
        ET.SubElement(case, "skipped", message=_clean(f"{outcome}: {short}"))
        return case
    tag = "failure" if outcome == "fail" else "error"
    kind = "fail" if outcome == "fail" else "insufficient evidence"
    told = ET.SubElement(case, tag, message=_clean(short), type=kind)
    told.text = _clean(long)
    return case


def _clean(text: str) -> str:
    return _STRANGE.sub(REPLACEMENT, text)
