"""Bundles: the same bytes again, verified elsewhere, and whatever is not what was packed is refused."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpcdl
from hpcdl import cli
from hpcdl.analysis.ending import JobState
from hpcdl.bundle import archive
from hpcdl.bundle.manifest import write_sums
from hpcdl.bundle.verifying import find_differences, verify_bundle
from hpcdl.bundle.writing import write_bundle
from hpcdl.cli import bundle as bundle_cli
from hpcdl.errors import Failure, HpcdlError, Mistake
from hpcdl.store import Store
from tests.unit.records_maker import KILLED, Recording, record, write_run

FIRST, SECOND = "20261122-141200-aaaa", "20261123-141200-bbbb"
TOP = f"hpcdl-{FIRST}"


@pytest.fixture
def run(tmp_path):
    made = write_run(tmp_path / "runs", nodes=(1, 2), run_id=FIRST)
    for index in (1, 2):
        record(made, index, Recording(images_per_s=1000.0 * index))
    return made


@pytest.fixture
def packed(run, tmp_path):
    return write_bundle([run], {FIRST: JobState(over=True, words="COMPLETED")}, tmp_path / "b.tar.gz").path


def unpacked(path):
    """Name within the top folder -> bytes."""
    with tarfile.open(path) as file:
        return {
            member.name.partition("/")[2]: file.extractfile(member).read() for member in file.getmembers()
        }


def repack(path, files, *, sums=True):
    """The files as hpcdl packs them, with checksums that fit."""
    import hashlib

    folder = path.with_suffix(".d")
    shutil.rmtree(folder, ignore_errors=True)
    if sums:
        digests = {
            name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"
        }
        files = files | {"SHA256SUMS": write_sums(digests).encode()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    archive.pack(path, TOP, {name: folder / name for name in files})
    return path


# ---- Packing ----


def test_a_bundle_holds_the_records_and_their_report(run, packed):
    files = unpacked(packed)
    for path in run.path.rglob("*"):
        if path.is_file():
            assert files[f"records/{FIRST}/{path.relative_to(run.path)}"] == path.read_bytes()
    report = json.loads(files["report.json"])
    assert [row["images_per_s"]["value"] for row in report["launches"]] == pytest.approx([1000.0, 2000.0])
    assert files["report.md"].startswith(b"# ")
    assert "report.html" in files
    assert json.loads(files["hpcdl-bundle.json"])["runs"] == [
        {"run": FIRST, "over": True, "words": "COMPLETED"}
    ]


def test_the_report_names_no_place_of_this_machine(packed, tmp_path):
    files = unpacked(packed)
    for name in ("report.json", "report.md", "hpcdl-bundle.json"):
        assert str(tmp_path).encode() not in files[name]


def test_without_what_draws_pictures_there_is_no_page_and_all_else(run, packed, tmp_path, monkeypatch):
    monkeypatch.setattr("hpcdl.report.formats.can_draw", lambda: False)
    bare = write_bundle([run], {}, tmp_path / "bare.tar.gz")
    files = unpacked(bare.path)
    assert {"report.json", "report.md"} <= files.keys()
    assert "report.html" not in files
    assert verify_bundle(bare.path).differences == ()
    # One that has a page is verified all the same.
    assert verify_bundle(packed).differences == ()


def test_the_same_records_give_the_same_bytes(run, packed, tmp_path):
    copy = tmp_path / "elsewhere" / FIRST
    shutil.copytree(run.path, copy)
    again = write_bundle(
        [Store(copy.parent).find(FIRST)],
        {FIRST: JobState(over=True, words="COMPLETED")},
        tmp_path / "c.tar.gz",
    )
    assert again.path.read_bytes() == packed.read_bytes()
    assert again.size_bytes == packed.stat().st_size


def test_sha256sum_reads_the_checksums(packed, tmp_path):
    with tarfile.open(packed) as file:
        file.extractall(tmp_path / "out", filter="data")
    argv = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(argv, cwd=tmp_path / "out" / TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == len(unpacked(packed)) - 1


def test_links_and_files_half_written_are_left_out(run, tmp_path):
    (run.path / "link").symlink_to("/etc/passwd")
    (run.path / ".summary.json.x1").write_text("half")
    made = write_bundle([run], {}, tmp_path / "b.tar.gz")
    assert made.left_out == (str(run.path / "link"),)
    assert not [name for name in unpacked(made.path) if "link" in name or ".x1" in name]
    assert verify_bundle(made.path).manifest.runs[0].words == "unknown"


PACKING = {
    "twice": lambda run, tmp: ([run, run], tmp / "b.tar.gz", "is named twice"),
    "name": lambda run, tmp: ([run], tmp / "b.zip", "a bundle is a .tar.gz"),
    "place": lambda run, tmp: ([run], tmp / "none" / "b.tar.gz", "cannot be written"),
}


@pytest.mark.parametrize("case", PACKING)
def test_what_cannot_be_packed(run, tmp_path, case):
    runs, target, words = PACKING[case](run, tmp_path)
    with pytest.raises(Mistake, match=words):
        write_bundle(runs, {}, target)
    assert not target.exists()


def test_a_name_that_needs_escaping_is_no_member(run, tmp_path):
    (run.path / "a\nb").write_text("x")
    with pytest.raises(Mistake, match="cannot be stored in a bundle"):
        write_bundle([run], {}, tmp_path / "b.tar.gz")


# ---- Verifying ----


def test_a_bundle_is_verified_without_the_runs(packed, run):
    shutil.rmtree(run.path)
    verified = verify_bundle(packed)
    assert (verified.differences, verified.unlike, verified.folder) == ((), (), None)
    assert verified.files == len(unpacked(packed))
    assert verified.report.title.startswith("AlexNet")


def test_a_run_that_was_lost_is_lost_in_its_bundle_too(tmp_path):
    run = write_run(tmp_path / "runs", run_id=FIRST)
    record(run, 1, Recording(outcome=None, summarised=False, steps=3))
    made = write_bundle([run], {FIRST: JobState(over=True, words="NODE_FAIL")}, tmp_path / "b.tar.gz")
    assert made.report.badges == ("FAILED",)
    assert verify_bundle(made.path).report.badges == ("FAILED",)


def test_extracted_records_are_reported_on(packed, tmp_path):
    folder = verify_bundle(packed, extract=tmp_path / "out").folder
    assert folder == tmp_path / "out" / TOP
    assert Store(tmp_path / "none").find(str(folder / "records" / FIRST)).job().run_id == FIRST
    assert [path.name for path in (tmp_path / "out").iterdir()] == [TOP]
    with pytest.raises(Mistake, match="is there already"):
        verify_bundle(packed, extract=tmp_path / "out")


def test_each_file_that_changed_is_named(packed):
    files = unpacked(packed)
    summary = f"records/{FIRST}/001-alexnet-1n/summary.json"
    odd = {
        **files,
        summary: files[summary] + b" ",
        f"records/{FIRST}/more.txt": b"x",
    }
    del odd["report.md"]
    with pytest.raises(Failure) as caught:
        verify_bundle(repack(packed, odd, sums=False))
    for words in (f"{summary} has changed", "more.txt is not listed", "report.md is missing"):
        assert words in str(caught.value)


def test_a_report_that_does_not_follow_is_refused_though_its_checksum_fits(packed):
    files = unpacked(packed)
    report = json.loads(files["report.json"])
    report["launches"][0]["images_per_s"]["value"] = 1500.0
    files["report.json"] = json.dumps(report).encode()
    with pytest.raises(
        Failure, match=r"launches\[0\].images_per_s.value is 1500.0 in the bundle and 1000\.0\d* by"
    ):
        verify_bundle(repack(packed, files))


def test_so_is_a_text_that_does_not_follow(packed):
    files = unpacked(packed)
    files["report.md"] = files["report.md"].replace(b"1,000", b"1,500")
    with pytest.raises(Failure, match=r"report\.md does not follow"):
        verify_bundle(repack(packed, files))


def test_another_version_may_make_another_report(packed, monkeypatch):
    files = unpacked(packed)
    report = json.loads(files["report.json"]) | {"title": "as it was called then"}
    files["report.json"] = json.dumps(report).encode()
    files["hpcdl-bundle.json"] = files["hpcdl-bundle.json"].replace(hpcdl.__version__.encode(), b"0.0.1")
    verified = verify_bundle(repack(packed, files))
    [difference] = verified.differences
    assert difference.startswith('title is "as it was called then" in the bundle and "AlexNet')


NO_BUNDLES = {
    "no gzip": lambda files, path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "empty": lambda files, path: path.write_bytes(b""),
    "no manifest": lambda files, path: repack(path, {"a": b"x"}),
    "no sums": lambda files, path: repack(
        path, {"hpcdl-bundle.json": files["hpcdl-bundle.json"]}, sums=False
    ),
    "a list": lambda files, path: repack(path, files | {"hpcdl-bundle.json": b"[]"}),
    "newer": lambda files, path: repack(
        path,
        files
        | {
            "hpcdl-bundle.json": files["hpcdl-bundle.json"].replace(
                b'"schema_version": 1', b'"schema_version": 2'
            )
        },
    ),
    "run outside": lambda files, path: repack(
        path,
        files | {"hpcdl-bundle.json": files["hpcdl-bundle.json"].replace(FIRST.encode(), b"../../../etc")},
    ),
    "launch outside": lambda files, path: repack(
        path,
        files
        | {
            f"records/{FIRST}/job.json": files[f"records/{FIRST}/job.json"].replace(
                b'"001-alexnet-1n"', b'"../../../../etc"'
            )
        },
    ),
    "no job": lambda files, path: repack(path, files | {f"records/{FIRST}/job.json": b"{"}),
}


@pytest.mark.parametrize("case", NO_BUNDLES)
def test_what_is_no_bundle(packed, case):
    NO_BUNDLES[case](unpacked(packed), packed)
    with pytest.raises(Mistake):
        verify_bundle(packed)


def test_a_bundle_that_was_compressed_again_is_told_so(packed):
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), mtime=1))
    with pytest.raises(Mistake, match="packed by something else: its gzip header"):
        verify_bundle(packed)
    packed.write_bytes(b"PK")
    with pytest.raises(Mistake, match="is no bundle: it is not compressed by gzip"):
        verify_bundle(packed)


def test_records_that_nobody_names(packed):
    files = unpacked(packed)
    files |= {name.replace(FIRST, SECOND): data for name, data in files.items() if FIRST in name}
    with pytest.raises(Failure, match=f"its runs and its records differ: {SECOND}"):
        verify_bundle(repack(packed, files))


# ---- Archives that somebody made ----


def craft(path, members):
    """A tar with any members, in the very gzip that hpcdl writes; (TarInfo, bytes) each."""
    buffer = io.BytesIO()
    long = any(len(info.name) > 200 for info, _ in members)
    form = tarfile.GNU_FORMAT if long else tarfile.USTAR_FORMAT
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for info, data in members:
            info.size = len(data) if info.isreg() else info.size
            file.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return squeeze(path, buffer.getvalue())


def squeeze(path, data):
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        file.write(data)
    return path


def member(name, kind=tarfile.REGTYPE, **changes):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in changes.items():
        setattr(info, key, value)
    return (info, b"x")


EVIL = {
    "absolute": ([member("/etc/x")], "outside"),
    "up": ([member("top/../../x")], "outside"),
    "dot": ([member("top/./x")], "outside"),
    "double slash": ([member("top//x")], "outside"),
    "backslash": ([member("top/a\\b")], "outside"),
    "newline": ([member("top/a\nb")], "outside"),
    "no folder": ([member("x")], "outside"),
    "another folder": ([member("top/a"), member("other/b")], "outside"),
    "twice": ([member("top/a"), member("top/a")], "it is there twice"),
    "file and folder": ([member("top/a"), member("top/a/b")], "a file and a folder"),
    "symbolic link": ([member("top/a", tarfile.SYMTYPE, linkname="/etc/passwd")], "a symbolic link"),
    "hard link": ([member("top/a", tarfile.LNKTYPE, linkname="/etc/passwd")], "a hard link"),
    "device": ([member("top/a", tarfile.CHRTYPE, devmajor=1, devminor=3)], "a device"),
    "pipe": ([member("top/a", tarfile.FIFOTYPE)], "a pipe"),
    "folder": ([member("top/a", tarfile.DIRTYPE)], "a folder"),
    "long name": ([member("top/" + "a" * 300)], "no plain file"),
    "set-uid": ([member("top/a", mode=0o4755)], "not as hpcdl writes it"),
    "owner": ([member("top/a", uid=1000, uname="somebody")], "not as hpcdl writes it"),
}


@pytest.mark.parametrize("case", EVIL)
def test_archives_that_are_refused(tmp_path, case):
    members, words = EVIL[case]
    path, out = craft(tmp_path / "evil.tar.gz", members), tmp_path / "out"
    out.mkdir()
    with pytest.raises(Mistake, match=words):
        archive.unpack(path, out)
    assert not [found for found in tmp_path.rglob("*") if found.is_symlink() or found.name in {"x", "b"}]


def test_a_bomb_is_ended_at_the_limit(tmp_path):
    info = tarfile.TarInfo("top/zeros")
    info.size = 1 << 26
    path = squeeze(
        tmp_path / "bomb.tar.gz", archive._encode("top/zeros", info.size, 0) + bytes(info.size + 1024)
    )
    assert path.stat().st_size < 100_000
    (tmp_path / "out").mkdir()
    with pytest.raises(Mistake, match="more than 1,000,000 bytes"):
        archive.unpack(path, tmp_path / "out", limit_bytes=1_000_000)
    assert (
        sum(found.stat().st_size for found in (tmp_path / "out").rglob("*") if found.is_file()) <= 1_000_000
    )


def test_a_size_below_zero_and_a_size_that_is_a_lie(tmp_path):
    block = bytearray(archive._encode("top/a", 100, 0))
    block[124:136] = b"\xff" * 12  # minus one, base 256
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * 32)
    (tmp_path / "out").mkdir()
    with pytest.raises(Mistake, match="outside"):
        archive.unpack(squeeze(tmp_path / "a.tar.gz", bytes(block) + bytes(2048)), tmp_path / "out")
    short = squeeze(tmp_path / "b.tar.gz", archive._encode("top/b", 10_000, 0) + bytes(512))
    with pytest.raises(Failure, match="it ends too early"):
        archive.unpack(short, tmp_path / "out")


def test_something_behind_the_end(packed):
    data = gzip.decompress(packed.read_bytes())
    for odd in (data + b"x", data + bytes(512) + b"x" * 512):
        with pytest.raises(Mistake, match="behind the last file"):
            verify_bundle(squeeze(packed, odd))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A bundle that is left as it is, and a folder to change copies in."""
    folder = tmp_path_factory.mktemp("bundle")
    run = write_run(folder / "runs", run_id=FIRST, steps=5)
    record(run, 1)
    made = write_bundle([run], {}, folder / "b.tar.gz")
    return made.path.read_bytes(), folder / "flipped.tar.gz"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_that_is_flipped_is_seen(kept, data):
    """In the archive as it travels, all bits of a byte; in what it holds, any bit."""
    whole, path = kept
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(whole) - 1))
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
    else:
        inner = bytearray(gzip.decompress(whole))
        inner[data.draw(st.integers(0, len(inner) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        squeeze(path, bytes(inner))
    with pytest.raises(HpcdlError):
        verify_bundle(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 2000))
def test_a_bundle_that_was_cut_off_is_seen(kept, cut):
    whole, path = kept
    path.write_bytes(whole[:-cut])
    with pytest.raises(HpcdlError):
        verify_bundle(path)


# ---- Differences ----


def test_differences_in_words():
    packed = {"a": 1.0, "b": [1, 2], "c": "x", "d": True, "e": None}
    assert list(find_differences(packed, packed | {"a": 1.0 + 1e-12})) == []
    made = {"a": 1.1, "b": [1, 2, 3], "c": "x", "d": 1, "f": 0}
    assert list(find_differences(packed, made)) == [
        "a is 1.0 in the bundle and 1.1 by the records",
        "b is [1, 2] in the bundle and [1, 2, 3] by the records",
        "d is true in the bundle and 1 by the records",
        "e is only in the bundle",
        "f is only in the records",
    ]


# ---- The commands ----


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`bundle` and `verify` under an application of their own, through the real way out."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("bundle")(bundle_cli.bundle)
    app.command("verify")(bundle_cli.verify)
    monkeypatch.setattr("hpcdl.cli.app.app", app)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "runs"))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return call


def test_from_the_command_line(command, run, tmp_path):
    failed = write_run(tmp_path / "runs", run_id=SECOND)
    record(failed, 1, Recording(outcomes={0: KILLED}, summarised=False))
    target = tmp_path / "b.tar.gz"
    code, out, err = command("bundle", FIRST, SECOND, "aaaa", "-o", target, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["kind"], told["badges"], [row["run"] for row in told["runs"]]) == (
        "bundle",
        ["FAILED"],
        [FIRST, SECOND],
    )
    assert told["size_bytes"] == {"value": target.stat().st_size, "unit": "bytes"}
    code, out, _ = command("verify", target, "--extract", tmp_path / "out")
    assert code == 0
    assert "verified" in out
    assert f"records/{FIRST}" in out.replace("\n", "")
    assert json.loads(command("verify", target, "--show", "--json")[1])["kind"] == "runs"
    assert command("verify", tmp_path / "runs")[0] == 2
    assert command("verify", Path("/etc/hostname"))[0] == 2
    files = unpacked(target)
    repack(target, files | {"report.md": b"lies"}, sums=False)
    code, out, err = command("verify", target)
    assert (code, out) == (1, "")
    assert "report.md has changed" in err
