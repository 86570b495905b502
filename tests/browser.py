"""A page in a real Chromium, for the tests of all pages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("chromium", "chromium-driver")
CONTRAST = """((one, two) => {
  const probe = document.createElement('i'); document.body.append(probe);
  const light = name => { probe.style.color = `var(${name})`;
    const parts = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]; };
  const [a, b] = [light(one), light(two)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05); })"""


def find_chromium() -> tuple[str, str]:
    """Chromium and its driver; installs them where SER_BROWSER says so, else skips and says why."""
    if (
        not all(map(shutil.which, ("chromium", "chromedriver")))
        and os.environ.get("SER_BROWSER") == "install"
    ):
        if os.getuid() != 0 or not shutil.which("apt-get"):
            pytest.skip("SER_BROWSER=install needs root and apt-get")
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", *words], check=True, env=quiet, timeout=280)
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip(
            f"no Chromium: apt-get install --no-install-recommends {' '.join(PACKAGES)}, or set "
            "SER_BROWSER=install to have that done"
        )
    return str(programs[0]), str(programs[1])


class Browser:
    """A page in a headless Chromium."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver, self.path = driver, path

    def show(self, width: int, dark: bool = False, media: str = "") -> None:
        """Load the page as a device of that width (pixels) does."""
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        self.driver.get(self.path.as_uri())

    def run(self, code: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {code}")


@contextmanager
def opened(path: Path, *words: str) -> Iterator[Browser]:
    """A page of a file, in a Chromium that was started with further options."""
    chromium, chromedriver = find_chromium()
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", *words):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(chromedriver))
    try:
        yield Browser(driver, path)
    finally:
        driver.quit()
