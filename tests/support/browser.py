"""A real browser without a screen, in a namespace of the lab: Debian's chromium and its driver."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = "chromium", "chromedriver"
SIZE = 1280, 960


def missing_browser() -> str | None:
    """Say what is not installed; `.ci/install-browser` gets it."""
    absent = [name for name in (CHROMIUM, DRIVER) if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@contextmanager
def browser(folder: Path) -> Iterator[Chrome]:
    """Open one in the network of this thread; what it keeps is in `folder`."""
    options = ChromeOptions()
    options.binary_location = shutil.which(CHROMIUM) or CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (
        "--headless=new",
        # Tests are root, for whom chromium has no sandbox; the lab is its fence.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        # It asks nobody but whom it is sent to.
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--no-proxy-server",
        f"--window-size={SIZE[0]},{SIZE[1]}",
        f"--user-data-dir={folder / 'profile'}",
    ):
        options.add_argument(flag)
    service = Service(shutil.which(DRIVER), log_output=str(folder / "driver.log"))
    driver = Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
