"""`hpcdl report bundle` and `hpcdl report verify`: records and report in one file, for somebody else to check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import completing
from hpcdl.cli.look import JsonOption, StoresOption, ask_executor, find_folders, open_stores

if TYPE_CHECKING:
    from hpcdl.bundle.manifest import Manifest
    from hpcdl.bundle.verifying import Verified
    from hpcdl.report.content import Report

GIB = 1 << 30


def bundle(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs; without any, the last one.", autocompletion=completing.runs),
    ] = None,
    *,
    output: Annotated[str, typer.Option("--output", "-o", help="The bundle.", metavar="FILE.tar.gz")],
    force: Annotated[bool, typer.Option("--force", help="Show what is withheld, marked as such.")] = False,
    store: StoresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack the records of runs with their report, for somebody else to verify and to make again."""
    from pathlib import Path

    from hpcdl.bundle.writing import write_bundle
    from hpcdl.cli import screen
    from hpcdl.report.bundles import describe_packed, size_fact
    from hpcdl.report.content import Fact
    from hpcdl.report.controls import replace_controls

    folders = find_folders(open_stores(store), runs)
    states = {folder.run_id: ask_executor(folder) for folder in folders}
    packed = write_bundle(folders, states, Path(output).expanduser(), force=force)
    facts = (
        size_fact(packed.size_bytes),
        Fact("files", "files", packed.files),
        Fact("sha256", "SHA-256", packed.sha256),
    )
    screen.show(describe_packed(output, _name_runs(packed.manifest), packed.report, facts), as_json=as_json)
    for path in packed.left_out:
        screen.talk.print(f"not in it, as it is no plain file: {replace_controls(str(path))}", soft_wrap=True)


def _name_runs(manifest: Manifest) -> list[tuple[str, str]]:
    return [(run.run, run.words) for run in manifest.runs]


def verify(
    file: Annotated[str, typer.Argument(help="What `hpcdl report bundle` wrote.", metavar="BUNDLE")],
    *,
    extract: Annotated[
        str | None, typer.Option("--extract", help="Leave it unpacked there, if it holds.", metavar="DIR")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Unpack at most so many GiB.", metavar="GIB")
    ] = 16,
    show: Annotated[bool, typer.Option("--show", help="Show the report as made again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle: that its files are those that were packed, and that its report follows from its records."""
    from pathlib import Path

    from hpcdl.bundle.verifying import verify_bundle
    from hpcdl.cli import screen

    path = Path(file).expanduser()
    target = None if extract is None else Path(extract).expanduser().absolute()
    verified = verify_bundle(path, extract=target, limit_bytes=limit * GIB)
    screen.show(verified.report if show else _describe(file, verified), as_json=as_json)


def _describe(file: str, verified: Verified) -> Report:
    from hpcdl import __version__
    from hpcdl.report.bundles import describe_verified, size_fact
    from hpcdl.report.content import Fact

    manifest = verified.manifest
    facts = (
        size_fact(verified.path.stat().st_size),
        Fact("files", "files", verified.files),
        Fact("hpcdl", "packed by hpcdl", manifest.hpcdl),
        Fact("newest_record_utc", "newest record", f"{manifest.newest_record_utc:%Y-%m-%dT%H:%M:%SZ}"),
    )
    notes = [
        f"hpcdl {__version__} makes another report from these records than {manifest.hpcdl} did: {text}"
        for text in verified.differences
    ]
    notes += [f"{name}: this machine writes it differently; its checksum holds" for name in verified.unlike]
    more = ["the report as made again: hpcdl report verify --show " + file]
    if verified.folder is not None:
        first = verified.folder / "records" / manifest.runs[0].run
        more.append(f"unpacked: hpcdl report {first}")
    return describe_verified(file, _name_runs(manifest), verified.report, facts, notes=notes, more=more)
