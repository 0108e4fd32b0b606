"""`hpcdl site`: the site file written, shown, proven, and examples of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import site_check
from hpcdl.cli.flags import SLURM, Said, accept
from hpcdl.cli.start import JsonOption, SiteOption, StoreOption  # noqa: TC001 (Typer reads the annotations)

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def site() -> None:
    """The site file: what the cluster is, and how its people want jobs to look."""


@app.command()
def init(
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Where it is written; - prints it.", metavar="FILE")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Where jobs go; without it, Slurm's default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a site file from what Slurm tells, with comments: where each value was read, and what it could be."""
    import json

    from hpcdl.cli import screen
    from hpcdl.sites.draft import write_site
    from hpcdl.slurm.survey import survey

    path = None if output == "-" else _choose_place(output, force=force)
    with screen.talk.status("asking Slurm"):
        text = write_site(survey(partition))
    _require_sense(text)
    if path is not None:
        _write(path, text)
    if as_json:
        print(json.dumps({"file": str(path) if path else None, "text": text}))
    elif path is None:
        print(text, end="")
    else:
        print(f"wrote {path}")
        screen.talk.print("complete it, then prove it: hpcdl site check", soft_wrap=True)


def _choose_place(output: str | None, *, force: bool) -> Path:
    """Where the file goes; asked before Slurm is.

    Raises:
        Mistake: A file is there, and --force was not said; or it is a folder.
    """
    from pathlib import Path

    from hpcdl.errors import Mistake
    from hpcdl.site import default_path

    path = Path(output).expanduser() if output else default_path()
    if path.is_dir():
        raise Mistake(f"{path} is a folder.", do="Name a file with --output.")
    if path.exists() and not force:
        raise Mistake(
            f"{path} is there already: what somebody has written is not written over.",
            do="Name another file with --output, print it with --output -, or say --force.",
        )
    return path


def _require_sense(text: str) -> None:
    """What cannot be read back is not handed out: Slurm has told something that no site file takes."""
    import tomllib

    from hpcdl.frozen import parse
    from hpcdl.site import Site

    parse(Site, tomllib.loads(text), where="what Slurm tells of this cluster")


def _write(path: Path, text: str) -> None:
    from hpcdl.durable import publish
    from hpcdl.errors import Failure, Mistake

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, text)
    except (OSError, Failure) as problem:
        raise Mistake(
            f"{path} cannot be written ({problem}).", do="Name another file with --output."
        ) from None


@accept(SLURM)
def show(
    *,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Show the site file in force: each value, and whether it comes from the file, a flag or is the default."""
    from pathlib import Path

    from hpcdl import settings
    from hpcdl import site as sites
    from hpcdl.cli import screen
    from hpcdl.report.sites import describe_site
    from hpcdl.store import default_root

    loaded, file = sites.load(Path(site) if site else None)
    resolved, sources = settings.resolve_site(loaded, file, said)
    root = Path(store).expanduser().absolute() if store else default_root(resolved.store)
    values = settings.flatten(resolved.model_dump(mode="json"))
    known = sources if file else {key: source for key, source in sources.items() if source != "default"}
    screen.show(describe_site(values, known, str(file) if file else None, str(root)), as_json=as_json)


@app.command()
def example(
    name: Annotated[str | None, typer.Argument(help="Without it, all are listed.", metavar="[NAME]")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print an example of a site file: a plain Slurm, pyxis, Apptainer, Cray or Grace Hopper site."""
    import json

    from hpcdl.cli import screen
    from hpcdl.report.sites import list_examples
    from hpcdl.sites import examples

    if name is None:
        known = {key: examples.describe_example(path) for key, path in examples.list_examples().items()}
        screen.show(list_examples(known), as_json=as_json)
        return
    text = examples.find_example(name).read_text(encoding="utf-8")
    print(json.dumps({"name": name, "text": text}) if as_json else text, end="\n" if as_json else "")


app.command("show")(show)
app.command("check")(site_check.check)
