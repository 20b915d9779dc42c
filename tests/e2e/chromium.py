"""A visible Chromium on the virtual desktop, driven by playwright, shared by the tests of one module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.desktop import VirtualDesktop

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser(desktop: VirtualDesktop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A playwright context with one window of 1500 x 900 pixels at (120, 60)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium") / "profile"),
            executable_path=CHROMIUM,
            headless=False,
            env=desktop.env,
            no_viewport=True,
            args=[
                "--no-sandbox", "--test-type", "--disable-gpu", "--no-first-run",
                "--window-position=120,60", "--window-size=1500,900",
            ],
        )  # fmt: skip
        try:
            yield context
        finally:
            context.close()
