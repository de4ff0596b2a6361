"""A headless Chromium, the system's own: no browser is downloaded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipeline.cli.demo.screenshot import find_chromium

NO_BROWSER = "no Chromium (apt install chromium)"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Gives a browser. Without Chromium the test is skipped; in CI (`CI=true`) it fails."""
    executable = find_chromium()
    if executable is None and os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI must run every test, but there is {NO_BROWSER}", pytrace=False)
    if executable is None:
        pytest.skip(NO_BROWSER)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
