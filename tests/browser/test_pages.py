"""The HTML report in a real browser: drawn, quiet, sorted, folded, in both schemes, on phones and on paper."""

from __future__ import annotations

import io
import os
import re
import shutil
from dataclasses import replace
from typing import NamedTuple

import pytest
from pypdf import PdfReader

from hpcdl.records import Missing
from hpcdl.report import as_html
from hpcdl.report.content import Column, Note, Quantity, Source, Table
from tests.unit import pictures_maker
from tests.unit.test_html import make_hostile_report
from tests.unit.test_report import RUNS, build

sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRAWN = "[...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)"
# Marks of data, not of axes or legends.
MARKS = "[class*='role-mark'] :is(path, line, text)"


class Opened(NamedTuple):
    page: sync_api.Page
    complaints: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("browser tests need Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Reports as files, by name."""
    folder = tmp_path_factory.mktemp("reports")
    reports = {name: build(RUNS[name], folder / name) for name in ("energy", "killed", "rehearsal")}
    scaling = build(RUNS["scaling"], folder / "scaling")
    numbers = Table(
        "numbers",
        "Numbers to sort",
        (Column("name", "name", left=True), Column("power", "power")),
        tuple(
            (name, Quantity(Missing(missing="no meter") if value is None else value, "W"))
            for name, value in (("a", 900.0), ("b", None), ("c", 12_000.0), ("d", 90.0), ("e", 900.0))
        ),
    )
    many = replace(numbers, key="many", title="Many", limit=2)
    reports["scaling"] = replace(
        scaling,
        pictures=pictures_maker.make_all(),
        sections=(numbers, many, *scaling.sections),
        sources=(Source("script", "batch script", "#!/bin/bash\nsrun --mpi=pmix hostname\n" * 30),),
        notes=(*scaling.notes, Note("info", "a long word: " + "x" * 200)),
    )
    # Few marks and rows: every one of them is looked at.
    small = tuple(one for one in pictures_maker.make_all() if one.key not in {"power", "ranks"})
    reports["small"] = replace(reports["scaling"], pictures=small)
    reports["tables"] = replace(reports["scaling"], pictures=(pictures_maker.make_sides(),))
    reports["ranks"] = replace(scaling, pictures=(pictures_maker.make_ranks(),))
    reports["hostile"] = make_hostile_report(
        "</script><script>document.title = 'taken'</script><b>\u2028 ${1} \"'`"
    )
    paths = {}
    for name, report in reports.items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(as_html.render(report), encoding="utf-8")
    return paths


def wait(page, expression):
    """Until it holds. Playwright's own waiting evaluates in the page, which the page's policy forbids."""
    for _ in range(300):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never: {expression}")


@pytest.fixture
def show(browser, files):
    """Opens a report; whatever asks for more than the file is refused, and remembered."""
    contexts = []

    def open_page(name, *, width=1440, scheme="light", **more):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        page, complaints, requests = context.new_page(), [], []
        url = files[name].as_uri()

        def answer(route):
            if route.request.url == url:
                route.continue_()
            else:
                requests.append(route.request.url)
                route.abort()

        context.route("**/*", answer)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        if more.get("java_script_enabled", True):
            wait(page, DRAWN)
        return Opened(page, complaints, requests)

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["scaling", "energy", "killed", "rehearsal", "ranks", "hostile"])
def test_drawn_without_a_complaint_or_a_request(show, name):
    page, complaints, requests = show(name)
    figures = page.locator("figure")
    counts = figures.evaluate_all(f'all => all.map(one => one.querySelectorAll("{MARKS}").length)')
    assert all(count > 0 for count in counts)
    assert len(counts) == {"scaling": 9, "ranks": 1, "hostile": 7}.get(name, 0)
    assert complaints == []
    assert requests == []


def test_charts_have_the_marks_of_their_data(show):
    page = show("scaling").page
    lines = page.locator("#picture-speed-up [class*='mark-line role-mark'] path")
    assert lines.count() == 6
    assert page.locator("#picture-ranks [class*='mark-rect role-mark'] path").count() == 64 * 40
    assert page.locator("#picture-speed-up .role-legend-label text").all_text_contents()[0] == "ideal"


def test_8192_ranks_are_drawn(show, files):
    assert files["ranks"].stat().st_size < 10_000_000
    page = show("ranks").page
    assert page.locator("#picture-ranks [class*='mark-rect role-mark'] path").count() == 128 * 150


def test_hostile_words_stay_words(show):
    page = show("hostile").page
    assert page.title().startswith("</script>")
    assert page.locator("main script:not([type])").count() == 0
    assert page.locator("b:has-text('${1}')").count() == 0


def find_table(page):
    return page.get_by_role("region", name="Numbers to sort").locator("table")


def column(page, place=1):
    return (
        find_table(page)
        .locator(f"tbody td:nth-child({place})")
        .evaluate_all("cells => cells.map(cell => cell.firstChild.textContent.trim())")
    )


def test_sorted_by_mouse(show):
    page = show("tables").page
    header = find_table(page).locator("th").nth(1)
    assert column(page) == ["a", "b", "c", "d", "e"]
    header.get_by_role("button").click()
    # By the unrounded value, not by its text; equal ones keep their order; what is missing stands last.
    assert column(page) == ["d", "a", "e", "c", "b"]
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert column(page) == ["c", "a", "e", "d", "b"]
    assert header.get_attribute("aria-sort") == "descending"


def test_sorted_by_keyboard(show):
    page = show("tables").page
    button = find_table(page).locator("th").nth(0).get_by_role("button")
    for _ in range(60):
        page.keyboard.press("Tab")
        if button.evaluate("one => one === document.activeElement"):
            break
    else:
        pytest.fail("Tab does not come to the header")
    outline = button.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert column(page) == ["e", "d", "c", "b", "a"]
    page.keyboard.press("Space")
    assert column(page) == ["a", "b", "c", "d", "e"]


def test_folds_open_by_keyboard(show):
    page = show("tables").page
    for summary in (
        page.locator("figure summary").first,
        page.locator("section[aria-labelledby=provenance] summary").last,
    ):
        summary.focus()
        page.keyboard.press("Enter")
        assert summary.evaluate("one => one.parentElement.open")
    assert page.locator("pre").first.is_visible()
    assert page.locator("figure").first.locator("td").first.is_visible()


def test_the_rest_of_a_long_table_can_be_had(show):
    page = show("tables").page
    section = page.locator("section", has_text="Many").last
    section.get_by_text("all 5 rows").click()
    assert section.locator("details tbody tr").count() == 5


def paint(page):
    return page.evaluate(
        """() => [
            getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector('.role-axis-label text')).fill,
            getComputedStyle(document.querySelector('[class*="mark-line role-mark"] path')).stroke,
        ]"""
    )


def test_light_and_dark_follow_the_reader(show):
    page = show("scaling").page
    light = paint(page)
    page.emulate_media(color_scheme="dark")
    dark = paint(page)
    assert light[0] == "rgb(255, 255, 255)"
    assert all(one != other for one, other in zip(light, dark, strict=True))
    # Paper is light.
    page.emulate_media(color_scheme="dark", media="print")
    assert paint(page) == light


@pytest.mark.parametrize("name", ["scaling", "energy", "killed", "hostile"])
def test_a_phone_scrolls_one_way(show, name):
    page = show(name, width=390).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    widths = page.locator(".chart svg").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert all(width <= 390 - 16 for width in widths)


def test_a_turned_phone_draws_anew(show):
    page = show("scaling", width=390).page
    page.set_viewport_size({"width": 800, "height": 390})
    wait(page, "document.querySelector('.chart svg').getBoundingClientRect().width > 500")


def test_titles_are_whole(show):
    """What Vega lays out does not stick out of the picture, at any width."""
    for width in (390, 700, 1440):
        page = show("scaling", width=width).page
        cut = page.evaluate(
            """() => [...document.querySelectorAll('.chart svg')].flatMap(svg => {
                const room = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].filter(text => {
                    const box = text.getBoundingClientRect();
                    return box.width && getComputedStyle(text).opacity !== '0' && (box.left < room.left - 1
                        || box.right > room.right + 1 || box.top < room.top - 1 || box.bottom > room.bottom + 1);
                }).map(text => text.textContent);
            })"""
        )
        assert cut == []


def test_pointing_at_a_mark_tells_its_numbers(show):
    opened = show("tables")
    page = opened.page
    page.locator("#picture-sides").scroll_into_view_if_needed()
    page.locator("#picture-sides [class*='mark-rect role-mark'] path").first.hover()
    tip = page.locator("#tip")
    tip.wait_for(state="visible")
    assert tip.inner_text().splitlines() == [
        "of: 4 x H100, this machine",
        "images/s: 45,910 images/s",
        "95 % interval: 45,000 images/s to 46,800 images/s",
    ]
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert opened.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["small", "rehearsal", "killed"])
def test_axe_finds_nothing_serious(show, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="browser tests need axe")
    page = show(name, scheme=scheme).page
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = axe.Axe().run(page).response["violations"]
    worst = [one for one in found if one["impact"] in {"serious", "critical"}]
    assert [f"{one['id']}: {one['nodes'][0]['html']}" for one in worst] == []


def test_on_paper(show):
    page = show("scaling").page
    text = " ".join(
        sheet.extract_text() for sheet in PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True))).pages
    )
    squeezed = re.sub(r"\s", "", text)
    # What is folded on a screen and matters is open, what needs a screen is away.
    assert "steadystate" in squeezed
    assert "Speed-upovernodes" in squeezed
    # The header row of a table stands on each of its pages.
    assert squeezed.count("withholds") > 1
    assert not page.evaluate("document.querySelector('details.matters').open")
    page.emulate_media(media="print")
    assert page.locator("#tip").is_hidden()


def test_without_scripts_the_tables_say_it(show):
    page = show("tables", java_script_enabled=False).page
    assert page.locator("noscript p").is_visible()
    assert find_table(page).is_visible()
    assert page.locator("th button").count() == 0
