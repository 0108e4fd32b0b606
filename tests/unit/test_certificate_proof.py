"""Certificates signed by a real ssh-keygen, and verified: whatever was changed is found, and where."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hpcdl.acceptance.folder import AcceptanceFolder
from hpcdl.certificate.differing import find_differences
from hpcdl.certificate.document import DOCUMENT, MANIFEST, SIGNATURE, read_document, sum_file
from hpcdl.certificate.signing import require_signing
from hpcdl.certificate.verifying import Trust, _compare_page, verify_certificate
from hpcdl.certificate.writing import write_certificate
from hpcdl.cli import certificate as commands
from hpcdl.errors import Failure, Mistake
from hpcdl.report import formats
from tests.unit.acceptances_maker import ACCEPT_ID, write_acceptance

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="signing needs ssh-keygen")

FORMS = ("markdown",)


def make_key(folder, name="key", passphrase=""):
    path = folder / name
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", f"{name}@example", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    write_acceptance(root, rates={"node3": 0.6}, here=True)
    return root


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    key, other = make_key(folder), make_key(folder, "other")
    allowed = folder / "allowed"
    allowed.write_text(f"operator@juno,deputy@juno {key.with_suffix('.pub').read_text()}")
    return key, other, allowed


@pytest.fixture(scope="module")
def made(store, keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_certificate(find(store), folder / "signed", forms=FORMS, key=keys[0])
    write_certificate(find(store), folder / "unsigned", forms=FORMS)
    return folder


@pytest.fixture
def signed(made, tmp_path):
    return Path(shutil.copytree(made / "signed", tmp_path / "signed"))


@pytest.fixture
def unsigned(made, tmp_path):
    return Path(shutil.copytree(made / "unsigned", tmp_path / "unsigned"))


def find(store):
    return AcceptanceFolder(store / "acceptances" / ACCEPT_ID)


def outcomes(verified):
    return {check.name: check.outcome for check in verified.checks}


def details(verified):
    return {check.name: check.detail for check in verified.checks}


def list_again(folder):
    """The checksums of what is there now: as somebody who knows how certificates are made would do it."""
    manifest = json.loads((folder / MANIFEST).read_text())
    names = [path for path in folder.rglob("*") if path.is_file() and path.name not in {MANIFEST, SIGNATURE}]
    manifest["files"] = {str(path.relative_to(folder)): sum_file(path) for path in names}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def edit_document(folder, change):
    document = json.loads((folder / DOCUMENT).read_text())
    change(document)
    (folder / DOCUMENT).write_text(json.dumps(document))


def speed_up(path):
    """The slow node's records, as if it were as fast as the others."""
    text = path.read_text()
    path.write_text(
        text.replace('"images_per_s":6', '"images_per_s":10').replace(
            '"images_per_s":59', '"images_per_s":99'
        )
    )


def find_requirement(document, name):
    return next(one for one in document["verdict"]["requirements"] if one["criterion"] == name)


def find_decision(document, name, unit):
    return next(one for one in find_requirement(document, name)["decisions"] if one["unit"] == unit)


# ---- What was written holds ----


def test_a_signed_certificate_holds(signed, keys):
    verified = verify_certificate(signed, Trust(allowed=keys[2]))
    assert verified.holds
    assert outcomes(verified) == dict.fromkeys(
        ("signature", "signer", "checksums", "certificate.json", "verdict", "certificate.md"), "held"
    )
    assert details(verified)["signer"].startswith("operator@juno")
    fingerprint = read_document(signed).signer.fingerprint
    assert f"SIGNED BY {fingerprint}" in (signed / "certificate.md").read_text()
    # It is what ssh-keygen itself accepts, without hpcdl.
    argv = ["ssh-keygen", "-Y", "verify", "-f", str(keys[2]), "-I", "deputy@juno", "-n", "hpcdl-acceptance"]
    with (signed / MANIFEST).open("rb") as manifest:
        subprocess.run(
            [*argv, "-s", str(signed / SIGNATURE)], stdin=manifest, check=True, capture_output=True
        )


def test_sha256sum_agrees_about_the_records(signed):
    names = sorted(
        str(path.relative_to(signed)) for path in (signed / "records").rglob("*") if path.is_file()
    )
    lines = subprocess.run(["sha256sum", *names], cwd=signed, check=True, capture_output=True).stdout
    done = subprocess.run(["sha256sum"], input=lines, check=True, capture_output=True)
    assert done.stdout.decode().split()[0] == read_document(signed).records_sha256


def test_without_allowed_signers_the_signer_is_not_known(signed):
    verified = verify_certificate(signed)
    assert verified.holds
    assert outcomes(verified)["signature"] == "held"
    assert outcomes(verified)["signer"] == "could not look"


def test_an_unsigned_certificate_holds_unless_a_signature_is_required(unsigned, keys):
    verified = verify_certificate(unsigned)
    assert verified.holds
    assert outcomes(verified)["signature"] == "could not look"
    assert "UNSIGNED" in details(verified)["signature"]
    for trust in (Trust(required=True), Trust(allowed=keys[2]), Trust(identity="operator@juno")):
        assert not verify_certificate(unsigned, trust).holds


def test_it_can_be_signed_later(unsigned, keys):
    argv = [
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-n",
        "hpcdl-acceptance",
        "-f",
        str(keys[0]),
        str(unsigned / MANIFEST),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    verified = verify_certificate(unsigned, Trust(allowed=keys[2]))
    assert verified.holds
    assert "signed later" in details(verified)["signature"]


# ---- Whose signature ----


def test_another_signer_is_not_allowed(signed, keys, tmp_path):
    allowed = tmp_path / "allowed"
    allowed.write_text(f"operator@juno {keys[1].with_suffix('.pub').read_text()}")
    verified = verify_certificate(signed, Trust(allowed=allowed))
    assert outcomes(verified)["signature"] == "held"
    assert outcomes(verified)["signer"] == "failed"
    assert not verify_certificate(signed, Trust(allowed=keys[2], identity="director@juno")).holds
    assert verify_certificate(signed, Trust(allowed=keys[2], identity="deputy@juno")).holds


def test_signed_again_with_another_key(signed, keys):
    (signed / SIGNATURE).unlink()
    argv = [
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-n",
        "hpcdl-acceptance",
        "-f",
        str(keys[1]),
        str(signed / MANIFEST),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    verified = verify_certificate(signed)
    assert outcomes(verified)["signature"] == "failed"
    assert "the pages name" in details(verified)["signature"]


def test_a_signature_for_something_else_is_none(signed, keys):
    (signed / SIGNATURE).unlink()
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(keys[0]), str(signed / MANIFEST)]
    subprocess.run(argv, check=True, capture_output=True)
    assert outcomes(verify_certificate(signed))["signature"] == "failed"


def test_a_signature_that_was_taken_away(signed):
    (signed / SIGNATURE).unlink()
    verified = verify_certificate(signed)
    assert outcomes(verified)["signature"] == "failed"
    assert "missing" in details(verified)["signature"]


# ---- What was changed ----


def test_a_changed_record_is_named_and_changes_the_verdict(signed):
    (path,) = signed.rglob("checks-node3.jsonl")
    speed_up(path)
    verified = verify_certificate(signed)
    assert not verified.holds
    assert "checks-node3.jsonl has changed" in details(verified)["checksums"]
    found = {(one.requirement, one.unit, one.what): (one.was, one.now) for one in verified.differences}
    assert found["", "", "outcome"] == ("fail", "pass")
    assert found["lenet-speed", "node3", "outcome"] == ("fail", "pass")


def test_records_changed_with_their_checksums(signed):
    (path,) = signed.rglob("checks-node3.jsonl")
    speed_up(path)
    list_again(signed)
    verified = verify_certificate(signed)
    found = outcomes(verified)
    assert found["checksums"] == "held"
    assert found["signature"] == found["certificate.json"] == found["verdict"] == "failed"


def test_a_changed_verdict_is_named(unsigned):
    """Without a signature, by one who makes all checksums fit."""

    def change(document):
        document["verdict"]["outcome"] = "pass"
        find_requirement(document, "lenet-speed")["outcome"] = "pass"
        find_decision(document, "lenet-speed", "node3").update(outcome="pass", value=0.93)

    edit_document(unsigned, change)
    list_again(unsigned)
    verified = verify_certificate(unsigned)
    found = outcomes(verified)
    assert found["checksums"] == found["certificate.json"] == "held"
    assert found["verdict"] == "failed"
    told = {(one.requirement, one.unit, one.what): (one.was, one.now) for one in verified.differences}
    assert told["lenet-speed", "node3", "outcome"] == ("pass", "fail")
    assert told["lenet-speed", "node3", "value"][0] == "0.93"
    assert told["lenet-speed", "", "outcome"] == ("pass", "fail")


def test_a_requirement_that_was_left_out_is_named(unsigned):
    edit_document(unsigned, lambda document: document["verdict"]["requirements"].pop(4))
    list_again(unsigned)
    (difference,) = verify_certificate(unsigned).differences
    assert (difference.requirement, difference.was, difference.now) == ("lenet-speed", "not there", "fail")


def test_another_version_may_choose_its_words_but_not_hide_a_rehearsal(made):
    told = read_document(made / "unsigned").verdict.model_copy(
        update={"rehearsal": "2 hosts share one boot id"}
    )
    for rehearsal, wording in (("it ran on one machine", True), (None, False)):
        (difference,) = find_differences(told.model_copy(update={"rehearsal": rehearsal}), told)
        assert (difference.what, difference.wording) == ("rehearsal", wording)


def test_a_culprit_that_is_there_twice_hides_none(unsigned):
    def double(document):
        (first, *_) = document["verdict"]["culprits"]
        document["verdict"]["culprits"].insert(0, first | {"symptom": "nothing is wrong with it"})

    edit_document(unsigned, double)
    list_again(unsigned)
    assert outcomes(verify_certificate(unsigned))["verdict"] == "failed"


def test_a_suite_that_was_made_easier(unsigned):
    """In the certificate alone; and in the records too, whose verdict then is another one."""

    def change(document):
        asked = document.get("asked", document)
        next(one for one in asked["suite"]["criteria"] if one["name"] == "lenet-speed")["at_least"] = "50 %"

    edit_document(unsigned, change)
    list_again(unsigned)
    assert outcomes(verify_certificate(unsigned))["certificate.json"] == "failed"
    path = unsigned / "records" / "acceptance.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    list_again(unsigned)
    found = outcomes(verify_certificate(unsigned))
    assert found["certificate.json"] == found["verdict"] == "failed"


def test_a_page_that_says_something_else(unsigned):
    path = unsigned / "certificate.md"
    path.write_text(path.read_text().replace("FAIL", "PASS"))
    list_again(unsigned)
    found = outcomes(verify_certificate(unsigned))
    assert found["verdict"] == "held"
    assert found["certificate.md"] == "failed"


def test_a_page_in_html_may_hold_another_program_and_no_other_words():
    page = b"""<meta http-equiv="Content-Security-Policy" content="script-src 'sha256-a'"><p>FAIL</p>
<script type="application/json">{"v":1}</script><script>draw()</script>"""
    assert _compare_page("c.html", "html", page, page).outcome == "held"
    newer = page.replace(b"sha256-a", b"sha256-b").replace(b"draw()", b"draw(2)")
    assert _compare_page("c.html", "html", newer, page).outcome == "could not look"
    for was, now in ((b"FAIL", b"PASS"), (b'"v":1', b'"v":2')):
        assert _compare_page("c.html", "html", page.replace(was, now), page).outcome == "failed"


@pytest.mark.parametrize("what", ["missing", "added"])
def test_files_that_are_missing_or_added(signed, what):
    if what == "added":
        (signed / "records" / "more.txt").write_text("x")
    else:
        next(signed.rglob("exit-node1.jsonl")).unlink()
    verified = verify_certificate(signed)
    assert outcomes(verified)["checksums"] == "failed"
    assert ("not listed" if what == "added" else "exit-node1.jsonl is missing") in details(verified)[
        "checksums"
    ]


def test_a_document_that_cannot_be_read_does_not_hold(signed):
    (signed / DOCUMENT).write_text("{")
    verified = verify_certificate(signed)
    assert not verified.holds
    assert verified.certificate is None


def test_records_that_no_verdict_can_be_made_of(unsigned):
    (unsigned / "records" / "acceptance.json").write_text("[]")
    list_again(unsigned)
    verified = verify_certificate(unsigned)
    assert outcomes(verified)["verdict"] == "failed"
    assert "no verdict can be made" in details(verified)["verdict"]


# ---- What nobody trusts ----


def test_links_and_odd_names_are_refused(unsigned):
    link = unsigned / "records" / "link"
    link.symlink_to("/etc/hostname")
    with pytest.raises(Mistake, match="no plain file"):
        verify_certificate(unsigned)
    link.unlink()
    (unsigned / "records" / "folder").symlink_to("/etc", target_is_directory=True)
    with pytest.raises(Mistake, match="no plain file"):
        verify_certificate(unsigned)
    (unsigned / "records" / "folder").unlink()
    (unsigned / "a\x1b[31mb").write_text("x")
    with pytest.raises(Mistake, match="name"):
        verify_certificate(unsigned)


def test_a_pipe_is_refused_and_not_waited_for(unsigned):
    os.mkfifo(unsigned / "records" / "pipe")
    with pytest.raises(Mistake, match="no plain file"):
        verify_certificate(unsigned)


def test_what_is_too_large_is_refused(unsigned):
    with pytest.raises(Mistake, match="more than 1,000 bytes"):
        verify_certificate(unsigned, limit_bytes=1000)


def test_a_launch_that_would_lead_out_of_the_folder(unsigned):
    (path,) = unsigned.rglob("job.json")
    path.write_text(path.read_text().replace('"001-node"', '"../../../elsewhere"'))
    list_again(unsigned)
    verified = verify_certificate(unsigned)
    assert "launch named" in details(verified)["verdict"]
    assert not verified.holds


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"kind": "other"}', '{"schema_version": 2}'])
def test_what_is_no_certificate(unsigned, text):
    (unsigned / MANIFEST).write_text(text)
    with pytest.raises(Mistake):
        verify_certificate(unsigned)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(Mistake, match="is no folder"):
        verify_certificate(tmp_path / "nowhere")
    with pytest.raises(Mistake, match="is no certificate"):
        verify_certificate(tmp_path)


# ---- Nothing half done ----


def test_no_key_and_no_signature_leave_nothing(store, keys, tmp_path):
    with pytest.raises(Mistake, match="no such file"):
        write_certificate(find(store), tmp_path / "c", forms=FORMS, key=tmp_path / "nokey")
    (tmp_path / "text").write_text("this is no key")
    with pytest.raises(Mistake, match="cannot read it"):
        write_certificate(find(store), tmp_path / "c", forms=FORMS, key=tmp_path / "text")
    # A key whose other half belongs to another key: what the pages name must be what signs.
    mixed = tmp_path / "mixed"
    shutil.copy(keys[0], mixed)
    shutil.copy(keys[1].with_suffix(".pub"), mixed.with_suffix(".pub"))
    before = sorted(path.name for path in tmp_path.iterdir())
    try:
        written = write_certificate(find(store), tmp_path / "c", forms=FORMS, key=mixed)
    except Failure:
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    else:
        assert verify_certificate(written.path).holds


def test_a_key_that_stays_locked_leaves_nothing(store, tmp_path, monkeypatch):
    key = make_key(tmp_path, "locked", "not told")
    # Nobody at a terminal, and nobody else who would be asked.
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(Failure, match="no certificate was written"):
        write_certificate(find(store), tmp_path / "c", forms=FORMS, key=key)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


SIGNING = """
import sys
from pathlib import Path
from hpcdl.acceptance.folder import AcceptanceFolder
from hpcdl.certificate.writing import write_certificate
folder, out, key = map(Path, sys.argv[1:])
write_certificate(AcceptanceFolder(folder), out, forms=("markdown",), key=key)
"""


def take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_passphrase_is_asked_for_on_the_terminal(store, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = make_key(tmp_path, "locked", "open sesame")
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", SIGNING, str(find(store).path), str(tmp_path / "c"), str(key)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 (the terminal must be the child's own)
    )
    os.close(theirs)
    said = b""
    while b"passphrase" not in said:
        said += os.read(ours, 1000)
    os.write(ours, b"open sesame\n")
    assert program.wait(60) == 0
    os.close(ours)
    assert verify_certificate(tmp_path / "c").holds


@pytest.mark.parametrize(
    ("program", "words"),
    [(None, "no ssh-keygen"), ("echo 'unknown option -- Y' >&2; exit 1", "cannot sign files")],
)
def test_no_ssh_keygen_or_an_old_one(made, tmp_path, monkeypatch, program, words):
    place = tmp_path / "bin"
    place.mkdir()
    if program:
        (place / "ssh-keygen").write_text(f"#!/bin/sh\n{program}\n")
        (place / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(Mistake, match=words) as told:
        require_signing()
    assert "OpenSSH 8.1" in told.value.do
    with pytest.raises(Mistake, match=words):
        verify_certificate(made / "signed")


def test_a_place_that_is_taken(store, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x").write_text("mine")
    with pytest.raises(Mistake, match="never written over"):
        write_certificate(find(store), tmp_path / "c", forms=FORMS)
    (tmp_path / "c" / "x").unlink()
    assert verify_certificate(write_certificate(find(store), tmp_path / "c", forms=FORMS).path).holds


def test_what_cannot_be_drawn_is_left_out_and_said(store, tmp_path, monkeypatch):
    def fail(report, name):
        raise Mistake("--format pdf needs the Python package typst, which is not installed.")

    monkeypatch.setattr(formats, "render", fail)
    written = write_certificate(find(store), tmp_path / "c", forms=("pdf",))
    assert "typst" in written.not_drawn["pdf"]
    assert not (tmp_path / "c" / "certificate.pdf").exists()


def test_verdicts_are_compared_to_nine_digits(made):
    verdict = read_document(made / "signed").verdict
    near = verdict.model_copy(update={"false_alarms": verdict.false_alarms * (1 + 1e-12)})
    assert not list(find_differences(verdict, near))
    far = verdict.model_copy(update={"false_alarms": verdict.false_alarms * (1 + 1e-6)})
    (difference,) = find_differences(verdict, far)
    assert difference.what == "false_alarms"


# ---- As it is typed ----


@pytest.fixture
def app():
    group = typer.Typer()
    group.command("report")(commands.report)
    group.command("verify")(commands.verify)
    return group


def run(app, *words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_from_report_to_proof(app, store, keys, tmp_path):
    out = tmp_path / "certificate"
    junit = tmp_path / "junit.xml"
    done = run(
        app,
        "report",
        ACCEPT_ID[-4:],
        "--store",
        store,
        "--out",
        out,
        "--format",
        "md",
        "--key",
        keys[0],
        "--junit",
        junit,
    )
    assert done.exit_code == 0, done.output
    assert junit.read_text().startswith("<?xml")
    done = run(app, "verify", out, "--allowed-signers", keys[2], "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["kind"] == "verification"
    assert {check["outcome"] for check in told["checks"]} == {"held"}
    next(out.rglob("checks-node3.jsonl")).write_text("")
    done = run(app, "verify", out)
    assert done.exit_code == 1
    assert "checks-node3.jsonl has changed" in done.stdout.replace("\n", " ")
    assert "UNSIGNED" not in done.stdout


def test_a_report_on_the_screen_is_unsigned(app, store):
    done = run(app, "report", "--store", store, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["stamp"] == "UNSIGNED · FAIL"
    assert told["verdict"][0]["exit_code"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report", "nobody"], "there is no acceptance 'nobody'"),
        (["report", "--key", "k"], "--out DIR"),
        (["report", "--out", "c", "--format", "csv"], "no pages in csv"),
        (["report", "--out", "c", "--format", "word"], "no report format"),
    ],
)
def test_what_cannot_be_asked(app, store, words, told):
    done = run(app, words[0], *words[1:], "--store", store)
    assert isinstance(done.exception, Mistake)
    assert told in str(done.exception)
