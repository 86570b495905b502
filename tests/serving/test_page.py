"""The served page in a real Chromium: files, a microphone that hears a wav, keyboard, phone, dark mode."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import ser
from tests.browser import CONTRAST, opened
from tests.serving.conftest import Server

pytestmark = pytest.mark.slow
CARDS = "[...document.querySelectorAll('article')]"
LABEL = "document.querySelector('article .label')?.firstChild?.textContent.trim()"
KEEP_BLOBS = """window.blobs = []; const make = URL.createObjectURL;
URL.createObjectURL = blob => { blobs.push(blob); return make(blob); };"""
TOUCHING = """(() => {
  const boxes = [...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect());
  return boxes.some((a, i) => boxes.slice(i + 1).some(b =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2)); })()"""


class Page:
    """The page of a served model in a headless Chromium whose microphone hears a wav file again and again."""

    def __init__(self, driver: Any, server: Server) -> None:
        self.driver, self.server = driver, server

    def show(self, width: int = 1200, dark: bool = False) -> None:
        """Load the page as a device of that width (pixels) does."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        self.driver.get(self.server.url)
        self.wait(lambda: "apart" in self.run("document.getElementById('about').textContent"))

    def run(self, code: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {code}")

    def wait(self, done: Callable[[], object], timeout_s: float = 30) -> None:
        """Wait until that is true."""
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, (self.status(), self.driver.get_log("browser"), self.server.log)
            time.sleep(0.05)

    def status(self) -> str:
        return str(self.run("document.getElementById('status').textContent"))

    def choose(self, *paths: Path) -> None:
        self.driver.find_element("id", "files").send_keys("\n".join(map(str, paths)))

    def shares(self) -> list[str]:
        """The posteriors that the newest card shows."""
        return self.run(f"[...{CARDS}[0].querySelectorAll('.share')].map(e => e.textContent)")

    def faults(self) -> list[str]:
        """What the browser complains of, but for answers that refuse."""
        return [
            row["message"]
            for row in self.driver.get_log("browser")
            if "responded with a status of 4" not in row["message"]
        ]


@pytest.fixture(scope="module")
def heard(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears: at 48 kHz, as Chromium's fake device likes it."""
    samples, rate = soundfile.read(recordings[0], dtype="float32")
    path = tmp_path_factory.mktemp("microphone") / "heard.wav"
    soundfile.write(path, np.repeat(samples, 48000 // rate), 48000)
    return path


@pytest.fixture(scope="module")
def page(server: Server, heard: Path) -> Iterator[Page]:
    words = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
        "--autoplay-policy=no-user-gesture-required",
    )
    with opened(Path(), *words) as browser:
        yield Page(browser.driver, server)


def percents(values: Any) -> list[str]:
    return [f"{int(np.floor(100 * value + 0.5))} %" for value in values]


def test_chosen_files(page: Page, recordings: list[Path], models: dict[str, Path]) -> None:
    """Each gets a card, the newest first, that shows what the model says."""
    model = ser.load(models["blstmatt"])
    page.show()
    page.choose(*recordings[:3])
    page.wait(lambda: page.status() == "3 files, 0 of them refused.")
    assert page.run(f"{CARDS}.map(c => c.querySelector('h3').textContent)") == [
        path.name for path in recordings[2::-1]
    ]
    result = model.predict(recordings[2])
    assert page.run(LABEL) == result.emotion
    assert page.shares() == percents(result.posterior)
    drawn = page.run(f"[...{CARDS}[0].querySelectorAll('svg text')].map(t => t.textContent)")
    assert {"sound", "track", "attn."} <= set(drawn)
    assert page.run(f"{CARDS}[0].querySelectorAll('.curve').length") == len(model.emotions)
    assert page.run("document.getElementById('none').hidden")
    assert page.faults() == []


def test_dropped_files(page: Page) -> None:
    """Dropped anywhere; what is no recording says why, and is text."""
    page.show()
    page.run(
        """(() => { const data = new DataTransfer();
        data.items.add(new File(["no audio"], "<img src=x onerror=alert(1)>.wav"));
        const drop = new DragEvent('drop', {dataTransfer: data, bubbles: true});
        document.querySelector('h1').dispatchEvent(drop); })()"""
    )
    page.wait(lambda: page.run(f"{CARDS}.length") == 1)
    page.wait(lambda: page.run(f"{CARDS}[0].innerText").endswith("Remove"))
    words = "This recording is no audio that can be read; send WAV, FLAC, OGG or MP3."
    assert page.run(f"{CARDS}[0].innerText").split("\n")[0] == "<img src=x onerror=alert(1)>.wav"
    assert words in page.run(f"{CARDS}[0].innerText")
    assert page.run("document.getElementById('status').className") == "fault"
    assert page.run("document.querySelector('img')") is None
    page.run(f"{CARDS}[0].querySelector('.actions button').click()")
    assert page.run(f"{CARDS}.length") == 0
    assert not page.run("document.getElementById('none').hidden")


def test_microphone(page: Page) -> None:
    """Class, posteriors, track and attention come while the recording goes on; then those of all of it."""
    page.show()
    record = page.driver.find_element("id", "record")
    record.click()
    page.wait(lambda: page.run(f"{CARDS}.length && {CARDS}[0].querySelectorAll('.share').length"))
    assert (record.text, record.get_attribute("aria-pressed")) == ("Stop", "true")
    first = page.run(f"{CARDS}[0].querySelector('.curve').getAttribute('points')")
    page.wait(lambda: page.run(f"{CARDS}[0].querySelector('.curve').getAttribute('points')") != first)
    assert page.status().startswith("Recording: ")
    assert page.run(f"{CARDS}[0].querySelector('.attention')") is not None
    assert page.run(f"{CARDS}[0].querySelector('audio').hidden")
    page.wait(lambda: float(page.run("document.getElementById('clock').textContent").split()[0]) > 3)
    record.click()
    page.wait(lambda: page.status().startswith("Recording 1: "))
    assert (record.text, record.get_attribute("aria-pressed")) == ("Record", "false")
    length_s = float(page.run(f"{CARDS}[0].querySelector('.top .soft').textContent").split()[0])
    assert 3 < length_s < 10
    assert not page.run(f"{CARDS}[0].querySelector('audio').hidden")
    assert page.faults() == []


def test_what_the_microphone_hears_is_what_is_sent(page: Page, heard: Path) -> None:
    """What is sent is the sound that was played, neither noise nor silence."""
    page.show()
    page.driver.execute_script(KEEP_BLOBS)
    page.driver.find_element("id", "record").click()
    page.wait(
        lambda: (
            float(page.run("document.getElementById('clock').textContent").split()[0] or 0)
            > soundfile.info(heard).duration
        )
    )
    page.driver.find_element("id", "record").click()
    page.wait(lambda: page.status().startswith("Recording 1: "))
    sent = page.driver.execute_async_script(
        """const done = arguments[0];
        blobs.at(-2).arrayBuffer().then(b => new OfflineAudioContext(1, 1, 48000).decodeAudioData(b)).then(
          a => done(Array.from(a.getChannelData(0).filter((_, i) => i % 8 === 0))))"""
    )
    played = np.tile(soundfile.read(heard, dtype="float32")[0][::8], 2).astype(np.float64)
    begin = len(sent) // 3
    part = np.array(sent[begin : begin + 3000])  # half a second
    energy = np.convolve(played**2, np.ones(len(part)), "valid")
    likeness = np.correlate(played, part, "valid") / np.sqrt(np.maximum(energy, 1e-6) * (part**2).sum())
    assert likeness.max() > 0.9


def test_player_moves_the_cursor(page: Page, recordings: list[Path]) -> None:
    page.show()
    page.choose(recordings[0])
    page.wait(lambda: page.run(f"{CARDS}[0]?.querySelector('.actions')"))
    page.run("document.querySelector('audio').currentTime = 0.5")
    page.wait(lambda: page.run("document.querySelector('.cursor').getAttribute('visibility')") == "visible")
    said = page.run(f"{CARDS}[0].querySelector(':scope > p.soft').textContent")
    assert said.startswith("At 0.5 s: ")


def test_saved_answer(page: Page, recordings: list[Path]) -> None:
    page.show()
    page.driver.execute_script(KEEP_BLOBS)
    page.choose(recordings[0])
    page.wait(lambda: page.run(f"{CARDS}[0]?.querySelector('a[download]')"))
    text = page.driver.execute_async_script("const done = arguments[0]; blobs.at(-1).text().then(done)")
    path = f"/predict?track=1&attention=1&name={recordings[0].name}"
    assert json.loads(text) == page.server.ask("POST", path, recordings[0].read_bytes()).json


def test_by_keyboard_alone(page: Page) -> None:
    """All can be reached, and is outlined then; a recording is begun, ended and removed by keys."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    page.show()
    press(Keys.TAB)
    assert page.run("document.activeElement.id") == "files"
    focused = "(e => e.matches('.unseen') ? e.nextElementSibling : e)(document.activeElement)"
    outline = f"getComputedStyle({focused}).outlineStyle"
    assert page.run(outline) == "solid"
    press(Keys.TAB)
    assert page.run("document.activeElement.id") == "record"
    assert page.run(outline) == "solid"
    press(Keys.SPACE)
    page.wait(lambda: page.run(f"{CARDS}.length && {CARDS}[0].querySelectorAll('.share').length"))
    press(Keys.SPACE)
    page.wait(lambda: page.run(f"{CARDS}[0].querySelector('.actions')"))
    reached = []
    for _ in range(12):
        press(Keys.TAB)
        reached.append(page.run("document.activeElement.tagName"))
        if page.run("document.activeElement.textContent") == "Remove":
            break
    assert [tag for tag in reached if tag != "AUDIO"] == ["SUMMARY", "A", "BUTTON"]
    press(Keys.ENTER)
    assert page.run(f"{CARDS}.length") == 0
    assert page.run("document.activeElement.id") == "files"


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (400, False), (400, True)])
def test_looks(page: Page, recordings: list[Path], width: int, dark: bool) -> None:
    """Nothing is wider than the device, texts can be read and do not touch, roles and names are there."""
    page.show(width, dark)
    page.choose(recordings[0])
    page.wait(lambda: page.run(f"{CARDS}[0]?.querySelector('.actions')"))
    assert page.run("document.documentElement.scrollWidth") <= width
    for ground in ("--paper", "--raised"):
        for name in ("--ink", "--soft", "--link", "--fault"):
            assert page.run(f"{CONTRAST}('{name}', '{ground}')") >= 4.5, (name, ground)
        for number in range(8):
            assert page.run(f"{CONTRAST}('--c{number}', '{ground}')") >= 3, (number, ground)
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") != dark
    assert not page.run(TOUCHING)
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("document.getElementById('status').getAttribute('role')") == "status"
    assert page.run("document.querySelector('article [role=img]').getAttribute('aria-label')").startswith(
        "Drawing of the waveform, posteriors over time, attention; most likely "
    )
    small = page.run(
        "[...document.querySelectorAll('button, .button, a')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(small) >= 24  # a finger's
    assert page.faults() == []


def test_nothing_comes_from_elsewhere(page: Page, recordings: list[Path]) -> None:
    page.show()
    page.choose(recordings[0])
    page.wait(lambda: page.run(f"{CARDS}[0]?.querySelector('.actions')"))
    loaded = page.run("performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded
    assert all(name.startswith((page.server.url, "data:", "blob:")) for name in loaded)
