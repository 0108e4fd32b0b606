"""Site files to begin with, one for each kind of cluster; they ship beside the job scripts."""

from __future__ import annotations

from pathlib import Path

from hpcdl.errors import UnknownName


def examples_folder() -> Path:
    """In the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "_jobscripts" / "sites"
    return inside if inside.is_dir() else package.parent / "jobscripts" / "sites"


def list_examples() -> dict[str, Path]:
    """Name -> file."""
    return {path.stem: path for path in sorted(examples_folder().glob("*.toml"))}


def describe_example(path: Path) -> str:
    """Its first line, without the mark of a comment."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def find_example(name: str) -> Path:
    """A file by name.

    Raises:
        UnknownName: There is none.
    """
    known = list_examples()
    if name not in known:
        raise UnknownName("example of a site file", name, known)
    return known[name]
