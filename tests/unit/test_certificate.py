"""The pages of a certificate: the verdict first, in words; who signs, on every page; no larger for a larger fleet."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader

from hpcdl.acceptance.concluding import conclude
from hpcdl.acceptance.judging import judge
from hpcdl.acceptance.verdict import Culprit
from hpcdl.certificate.pages import list_jobs
from hpcdl.report import formats
from hpcdl.report.acceptances import build_certificate
from hpcdl.report.fleets import group_nodes, name_nodes
from hpcdl.report.papers import Papers
from hpcdl.report.requirements import contrast, find_margin, shorten_word, sort_worst, write_amount
from tests.golden import keep_or_read
from tests.unit.acceptances_maker import make_asked, write_acceptance
from tests.unit.checks_maker import make_look
from tests.unit.fleets import (
    absent,
    device,
    make_evidence,
    make_suite,
    node,
    said,
    seen,
)
from tests.unit.fleets import (
    name_nodes as name_many,
)
from tests.unit.test_pdf import squeeze

PAPERS = Papers(
    issued_utc=datetime(2026, 12, 1, 9, tzinfo=UTC),
    records_sha256="ab" * 32,
    records_files=22,
    records_bytes=36620,
)
SIGNER = "SHA256:2ErzuxyfBW0VcpYnwd8a3nWmo0+TawBTeP18IV1F+f0 (ED25519)"
SLOW = {"rates": {"node3": 0.6}}
ODD = {"node5": {"identity": {"words": {"kernel": "6.1.9", "boot_id": "boot-node5"}}}}
BLAMED = Culprit(
    unit="node3",
    nodes=("node3",),
    criteria=("lenet-speed",),
    symptom="-40 % LeNet",
    clues=("CPU quota 0.2 of a core; the fleet has none",),
)


def build(tmp_path, *, papers=PAPERS, culprits=(), **made):
    folder = write_acceptance(tmp_path, **made)
    found = conclude(folder, final=True)
    verdict = found.verdict.model_copy(update={"culprits": culprits})
    return build_certificate(found.asked, verdict, found.evidence, jobs=list_jobs(folder), papers=papers)


def test_a_passing_certificate(tmp_path):
    text = formats.render(build(tmp_path), "markdown")
    assert text == keep_or_read("certificate-pass.md", text)
    assert text.startswith("# Acceptance: PASS")
    assert "**UNSIGNED · PASS**" in text


def test_a_failing_certificate(tmp_path):
    report = build(tmp_path, changes=ODD, culprits=(BLAMED,), **SLOW)
    text = formats.render(report, "markdown")
    assert text == keep_or_read("certificate-fail.md", text)
    assert text.startswith("# Acceptance: FAIL")
    # Who is to blame stands before any table.
    assert text.index("node3: -40 % LeNet; CPU quota 0.2") < text.index("## ")


def test_an_undecided_one_says_so_in_words(tmp_path):
    folder = write_acceptance(tmp_path)
    (path,) = folder.path.rglob("checks-node2.jsonl")
    kept = [line for line in path.read_text().splitlines() if '"check":"train"' not in line]
    unseen = make_look(
        "train", "node2", outcome="could not look", reason="torch cannot be loaded", numbers={}
    )
    path.write_text("\n".join([*kept, unseen.model_dump_json(), ""]))
    found = conclude(folder, final=True)
    report = build_certificate(found.asked, found.verdict, found.evidence)
    assert found.verdict.outcome == "insufficient"
    assert report.badges == ("INSUFFICIENT EVIDENCE", "UNSIGNED")
    text = formats.render(report, "markdown")
    assert "Acceptance: INSUFFICIENT EVIDENCE" in text
    assert "torch cannot be loaded" in text
    row = next(line for line in text.splitlines() if line.startswith("| lenet-speed"))
    assert "INSUFFICIENT EVIDENCE" in row
    assert "7 of 8" in row


@pytest.mark.parametrize("signer", ["", SIGNER])
def test_every_format_says_who_signs(tmp_path, signer):
    report = build(tmp_path, papers=replace(PAPERS, signer=signer))
    stamp = f"SIGNED BY {signer}" if signer else "UNSIGNED"
    assert stamp in formats.render(report, "terminal")
    assert stamp.replace("_", "\\_") in formats.render(report, "markdown")
    assert json.loads(formats.render(report, "json"))["stamp"].startswith(stamp)


def test_every_page_of_a_pdf_says_unsigned_and_rehearsal(tmp_path):
    alike = {name: {"identity": {"words": {"boot_id": "one"}}} for name in name_many(8)}
    report = build(tmp_path, changes=alike, **SLOW)
    assert "REHEARSAL" in report.badges
    pages = [
        squeeze(page.extract_text()) for page in PdfReader(io.BytesIO(formats.render(report, "pdf"))).pages
    ]
    assert len(pages) > 2
    assert all("UNSIGNED·FAIL·REHEARSAL" in page for page in pages)


def test_html_repeats_the_stamp_on_paper(tmp_path):
    report = build(tmp_path)
    text = formats.render(report, "html")
    assert '<p class="stamp">UNSIGNED · PASS</p>' in text
    # What makes browsers repeat it; tests/browser prints it.
    assert "display: table-header-group" in text


def test_a_thousand_nodes_make_no_larger_pages():
    sizes = []
    for count in (20, 1000):
        names = name_many(count)
        parts = []
        for place, name in enumerate(names):
            parts.append(said("identity.kernel", node(name), "6.1.0"))
            rates = [
                (60.0 if place in {3, 11} else 100.0) * (1 + 0.001 * ((place + one) % 7)) for one in range(4)
            ]
            parts.append(seen("train.lenet.images_per_s", device(name, "CPU"), *rates))
        suite = make_suite(
            {"metric": "train.lenet.images_per_s", "at_least": "80 %", "of": "fleet"},
            {"metric": "identity.kernel", "equals": "fleet"},
            reruns=0,
        )
        evidence = make_evidence(names, *parts)
        report = build_certificate(make_asked(suite=suite), judge(suite, evidence, final=True), evidence)
        text = formats.render(report, "markdown")
        assert "node4" in text
        assert "node12" in text
        sizes.append(len(text))
    assert f"these are the worst; {1000 - 16} more units: {1000 - 16} PASS" in text
    assert sizes[1] < 1.2 * sizes[0]


def test_nodes_in_groups_of_equal_ones():
    parts = [
        said("identity.kernel", node(name), "6.1.9" if name == "node2" else "6.1.0") for name in name_many(3)
    ]
    parts += [
        said("identity.versions", node("node1"), '{"torch": "2.10", "mpi": null}'),
        seen("identity.cores", node("node3"), 8),
    ]
    groups = group_nodes(make_evidence(name_many(4), *parts))
    assert [group.nodes for group in groups] == [("node1",), ("node2",), ("node3",), ("node4",)]
    assert groups[0].traits["identity.versions"] == '{"torch": "2.10", "mpi": null}'
    assert shorten_word(groups[0].traits["identity.versions"]) == "torch 2.10"
    assert groups[3].traits == {}
    alike = group_nodes(
        make_evidence(name_many(3), *(said("identity.cpu", node(name), "x") for name in name_many(3)))
    )
    assert [group.nodes for group in alike] == [("node1", "node2", "node3")]


def test_what_could_not_be_looked_at_is_told_with_the_reason():
    suite = make_suite({"metric": "train.lenet.images_per_s", "at_least": "10 images/s"}, reruns=0)
    parts = [absent("train.lenet.images_per_s", device(name), "DALI is missing") for name in name_many(3)]
    parts.append(absent("health.temperature_c", device("node1"), "no sensor"))
    evidence = make_evidence(name_many(3), *parts)
    report = build_certificate(make_asked(suite=suite), judge(suite, evidence, final=True), evidence)
    (table,) = [table for table in report.sections if table.key == "absences"]
    assert table.rows == (
        ("train.lenet.images_per_s", "yes", 3, "node[1-3]", "DALI is missing"),
        ("health.temperature_c", "no", 1, "node1", "no sensor"),
    )
    assert report.badges[0] == "INSUFFICIENT EVIDENCE"


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (["node1", "node2", "node3"], "node[1-3]"),
        (["n01", "n02", "n10"], "n[01-02,10]"),
        (["head", "node7"], "head, node7"),
        (["node3", "node1", "node1"], "node[1,3]"),
        ([f"n{place}" for place in range(0, 40, 2)], "n[0,2,4,6,8,10,12,14,… 12 more]"),
        ([], ""),
    ],
)
def test_names_of_nodes_in_short(nodes, words):
    assert name_nodes(nodes) == words


def test_the_worst_comes_first():
    suite = make_suite({"metric": "health.temperature_c", "at_most": "80 °C"})
    parts = [
        seen("health.temperature_c", device(f"node{place}"), heat)
        for place, heat in enumerate((60, 95, 82, 70), 1)
    ]
    (requirement,) = judge(suite, make_evidence(name_many(4), *parts)).requirements
    assert [one.unit for one in sort_worst(requirement, floor=False)] == ["node2", "node3", "node4", "node1"]
    margins = {one.unit: find_margin(one, floor=False) for one in requirement.decisions}
    assert margins["node2"] == pytest.approx(-15 / 80)
    assert margins["node1"] == pytest.approx(20 / 80)


@pytest.mark.parametrize(
    ("metric", "value", "relative", "words"),
    [
        ("train.lenet.images_per_s", 1234.4, False, "1,234 images/s"),
        ("train.lenet.images_per_s", 0.814, True, "81.4 %"),
        ("identity.memory_bytes", 5e11, False, "500.0 GB"),
        ("identity.cpu_limit_cores", 0.2, False, "0.2 cores"),
        ("node.finished", 1.0, False, "1"),
        ("arithmetic.lenet.digest", "0123456789abcdef" * 4, False, "0123456789abcdef…"),
        ("link.latency_s", 1.5e-6, False, "1.50 µs"),
        ("identity.kernel", None, False, "—"),
    ],
)
def test_amounts_carry_their_units(metric, value, relative, words):
    assert write_amount(metric, value, relative=relative) == words


def test_of_two_tables_of_versions_what_differs_is_shown_and_a_line_is_enough_for_what_does_not():
    usual = {"blas": "MKL 2024.2", "dali": "2.4.0", "onednn": "3.12.0", "python": "3.11.7", "torch": "2.13.0"}
    own = usual | {"torch": "2.12.0"}
    assert contrast(json.dumps(own), json.dumps(usual)) == ("torch 2.12.0", "torch 2.13.0")
    assert contrast(json.dumps(own | {"mpi": "5.0"}), json.dumps(usual))[1] == "torch 2.13.0, mpi none"
    same, _ = contrast(json.dumps(usual), json.dumps(usual))
    assert same == "blas MKL 2024.2, dali 2.4.0, onednn 3.1…"
    assert contrast("6.1.0", "6.2.0") == ("6.1.0", "6.2.0")
    assert contrast(0.9, 0.95) == (0.9, 0.95)
