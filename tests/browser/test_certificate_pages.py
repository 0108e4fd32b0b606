"""A certificate printed from a real browser: every sheet says who signed it."""

from __future__ import annotations

import io
import os
import re
import shutil

import pytest
from pypdf import PdfReader

from hpcdl.report import as_html
from tests.unit.test_certificate import build

sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="browser tests need Chromium: apt-get install chromium")
def test_every_printed_sheet_and_the_scrolled_screen_say_unsigned(tmp_path):
    path = tmp_path / "certificate.html"
    path.write_text(as_html.render(build(tmp_path / "store", rates={"node3": 0.6})))
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_function("[...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        box = page.locator(".stamp").bounding_box()
        assert 0 <= box["y"] < 50
        printed = page.pdf(prefer_css_page_size=True)
        browser.close()
    sheets = [re.sub(r"\s", "", sheet.extract_text()) for sheet in PdfReader(io.BytesIO(printed)).pages]
    assert len(sheets) > 2
    assert all("UNSIGNED·FAIL" in sheet for sheet in sheets)
    # Nothing is lost for it: the last table is there.
    assert "begunbyhpcdl" in "".join(sheets)
