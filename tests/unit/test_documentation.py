"""The documentation as a site: it builds, no link in it is dead, and its commands are those of the command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
import typer

from hpcdl.cli import manual
from hpcdl.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COMMANDS = dict(manual.walk(app))
EXAMPLES = [typed for page in manual.PAGES.values() for typed, _ in page.examples]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does, where every warning is an error."""
    place = tmp_path_factory.mktemp("site")
    argv = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(ROOT / "docs/mkdocs.yml"),
        "-d",
        str(place),
    ]
    built = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert built.returncode == 0, built.stderr
    return place


class Links(HTMLParser):
    """Where a page points to, and what in it can be pointed at."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        self.found += [value for name in ("href", "src") if (value := given.get(name))]


def find_dead(site: Path) -> Iterator[str]:
    """`page -> link` of each link that leads nowhere within the site."""
    pages = {page: Links(page) for page in site.rglob("*.html")}
    for page, links in pages.items():
        for link in links.found:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target /= "index.html"
            inside = target in pages and parts.fragment
            if not target.is_file() or (inside and unquote(parts.fragment) not in pages[target].anchors):
                yield f"{page.relative_to(site)} -> {link}"


def test_no_link_of_the_site_is_dead(site: Path) -> None:
    assert (site / "docs/commands/index.html").is_file()
    assert sorted(find_dead(site)) == []


def test_a_dead_link_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#there"></a><a href="b.html#gone"></a><img src="c.png">')
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    assert sorted(find_dead(tmp_path)) == ["a.html -> b.html#gone", "a.html -> c.png"]


def test_the_page_of_commands_is_what_the_command_line_says(tmp_path: Path) -> None:
    """Remake it: tools/write-commands."""
    subprocess.run([sys.executable, str(ROOT / "tools/write-commands"), str(tmp_path / "new.md")], check=True)
    assert (tmp_path / "new.md").read_text() == (ROOT / "docs/commands.md").read_text()


def test_every_command_has_examples_and_the_manual_knows_no_other() -> None:
    assert manual.PAGES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("typed", EXAMPLES)
def test_an_example_of_the_help_is_a_command_that_can_be_typed(typed: str) -> None:
    """Parsed as it would be, and not run."""
    plain = re.sub(r"^source <\(|\)$", "", typed).split(" > ")[0]
    words = shlex.split(plain)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("hpcdl", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)


def test_no_page_names_a_command_that_is_not_there() -> None:
    """`hpcdl x y` in any page: the longest words that are a command or a group must be one."""
    groups = {path.rpartition(" ")[0] for path in COMMANDS} - {""}
    known = COMMANDS.keys() | groups
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        (page.name, word)
        for page in pages
        for word in re.findall(r"(?:`|\$ )hpcdl ([a-z]+)", page.read_text())
    }
    first = {path.split(" ")[0] for path in known}
    assert {(page, word) for page, word in named if word not in first} == set()
