"""The page of recordings: what the file holds, and how a real Chromium plays it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="utils/install.sh --extra report is not done")

from ser.predict import page as pages
from ser.predict.page import About, Page
from ser.predict.recordings import Recording
from ser.predict.spoken import Symbol, Tiers
from tests.browser import CONTRAST, Browser, opened
from tests.predict.heard import EMOTIONS, HOSTILE, recordings, spoken

ABOUT = About(
    "exp/<b>model</b>",
    {"classes, in order": ", ".join(EMOTIONS), "normalisation": "utterance", "track": "windows of 1 s"},
    ["Trained on ten actors; it knows acted emotion alone."],
)
WORDS = [Symbol(f"word{i}<i>", 0.5 * i + 0.1, 0.5 * i + 0.6) for i in range(7)]
PHONES = [Symbol("abc"[i % 3], 0.1 * i, 0.1 * i + 0.1) for i in range(40)]


@pytest.fixture(scope="module")
def made() -> list[tuple[Recording, Tiers]]:
    """A recording of 4 s with words and phones, a hostile name, one in pieces, and one without audio."""
    long = [spoken("long.wav", 3, seed, start_s=30.0 * seed) for seed in range(3)]
    own = recordings(
        spoken("talk.wav", 4, 1), spoken(HOSTILE, 2, 2), *long, spoken("quiet.wav", 12, 5), audio_s=75
    )
    assert [each.audio is not None for each in own] == [True, True, True, False]
    return list(zip(own, [{"word": WORDS, "phone": PHONES}, {}, {}, {}], strict=True))


@pytest.fixture(scope="module")
def html(made: list[tuple[Recording, Tiers]]) -> str:
    page = Page(ABOUT)
    for recording, tiers in made:
        page.add(recording, tiers)
    return "".join(page.html())


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    assert html.startswith("<!doctype html>")
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", markup)
    assert references
    assert all(text.startswith(("#", "data:")) for text in references), references
    assert not re.search(r"@import|<link(?! rel=\"icon\" href=\"data:,\")|<script [^>]*src|https?:", html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_what_users_wrote_is_text(html: str) -> None:
    for text in ("<script>alert", "<b>model", "<i>", "{{ 7*7 }}</title>"):
        assert text not in html.replace("{{ 7*7 }}&lt;", "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "exp/&lt;b&gt;model&lt;/b&gt;" in html
    assert "49" not in html.partition("<h2")[0].partition("<h1>")[2]


def test_the_model_stands_on_it(html: str) -> None:
    for text in (*ABOUT.limits, "utterance", "anger, happiness, neutral, sadness", "windows of 1 s"):
        assert text in html
    assert html.count("Its audio is not here: a page holds 30 minutes at most.") == 1


def test_the_script_has_the_drawn_numbers(html: str, made: list[tuple[Recording, Tiers]]) -> None:
    data = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html)]
    recording = made[0][0]
    assert recording.track is not None
    [[times, values]] = data[0]["track"]
    middles = (recording.track.start_s + recording.track.end_s) / 2
    np.testing.assert_allclose(times, [0, *middles, 4], atol=5e-5)
    np.testing.assert_allclose(values[1:-1], recording.track.posteriors, atol=5e-5)
    assert [len(each["track"]) for each in data] == [1, 1, 3, 1]


def test_areas_lie_on_each_other(made: list[tuple[Recording, Tiers]], html: str) -> None:
    """The top of each class's area is the sum of the posteriors up to it, in per cent from below."""
    recording = made[0][0]
    assert recording.track is not None
    areas = re.findall(r'<path fill="var\(--c(\d)\)" d="([^"]+)"', html)[:4]
    assert [int(number) for number, _ in areas] == [3, 2, 1, 0]  # the later is painted over the earlier
    for number, path in areas:
        points = np.array([[float(x) for x in pair.split()] for pair in re.split("[MLZ]", path)[1:-1]])
        sums = recording.track.posteriors[:, : int(number) + 1].sum(axis=1)
        np.testing.assert_allclose(points[1:-3, 1], 100 * (1 - sums), atol=0.051)
        np.testing.assert_allclose(points[[0, -3], 0], [0, 1000])
        assert points[-2:].tolist() == [[1000, 100], [0, 100]]


def test_no_more_than_a_page_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_RECORDINGS", 2)
    page = Page(ABOUT)
    for number in range(5):
        for recording in recordings(spoken(f"{number}.wav", 1.5, number)):
            page.add(recording, {})
    assert (len(page), page.left_out) == (2, 3)
    text = "".join(page.html())
    assert "3 more recordings were classified; a page shows 2." in text
    assert text.count('class="recording"') == 2


# -------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(html: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = tmp_path_factory.mktemp("page") / "tracks.html"
    path.write_text(html, encoding="utf-8")
    with opened(path, "--autoplay-policy=no-user-gesture-required") as shown:
        yield shown


AUDIO = "document.querySelector('#r{}').querySelector('audio')"
CHART = "document.querySelector('#r1 .chart')"


def wait(browser: Browser, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 10, 0.05).until(lambda _: browser.run(condition))


def show(browser: Browser, width: int, dark: bool = False, media: str = "") -> None:
    browser.show(width, dark, media)
    wait(browser, "[...document.querySelectorAll('audio')].every(a => a.readyState >= 1)")
    assert browser.driver.get_log("browser") == []


def cursor(browser: Browser, number: int = 1) -> float:
    """Where the cursor stands, as a share of the chart."""
    return browser.run(
        f"(() => {{ const c = document.querySelector('#r{number} .chart').getBoundingClientRect(), "
        f"k = document.querySelector('#r{number} .cursor').getBoundingClientRect(); "
        "return (k.left + k.width / 2 - c.left) / c.width; })()"
    )


def shares(browser: Browser) -> list[int]:
    texts = browser.run("[...document.querySelectorAll('#r1 .legend output')].map(o => o.value)")
    return [int(text.split()[0]) for text in texts]


def click(browser: Browser, share: float) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    chart = browser.driver.find_element("css selector", "#r1 .chart")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    offset = round((share - 0.5) * chart.size["width"])
    ActionChains(browser.driver).move_to_element_with_offset(chart, offset, 0).click().perform()


@pytest.mark.slow
def test_plays_what_was_heard_when_it_was_heard(browser: Browser) -> None:
    """Chromium decodes the audio to its true length, with the tones where they were."""
    show(browser, 1200)
    code = """const [source, done] = arguments;
      fetch(source).then(r => r.arrayBuffer())
        .then(b => new OfflineAudioContext(1, 16000, 16000).decodeAudioData(b))
        .then(a => { const x = a.getChannelData(0); const on = [];
          for (let i = 0; i < x.length; i++)
            if (Math.abs(x[i]) > 0.25 && (!on.length || i - on[on.length - 1] > 8000)) on.push(i);
          done([x.length, ...on]); });"""
    length, *starts = browser.driver.execute_async_script(code, browser.run(f"{AUDIO.format(1)}.src"))
    assert length / 16000 == pytest.approx(4, abs=0.001)
    assert [start / 16000 for start in starts] == pytest.approx([0.1, 2.0], abs=0.005)
    assert browser.run(f"{AUDIO.format(1)}.duration") == pytest.approx(4, abs=0.001)


@pytest.mark.slow
def test_the_cursor_moves_with_the_audio(browser: Browser) -> None:
    show(browser, 1200)
    assert cursor(browser) == pytest.approx(0, abs=0.002)
    browser.driver.find_element("css selector", "#r1 .play").click()
    wait(browser, f"{AUDIO.format(1)}.currentTime > 0.4")
    wait(browser, "document.querySelector('#r1 .play').innerText === 'Pause'")
    browser.driver.find_element("css selector", "#r2 .play").click()  # one at a time
    wait(browser, f"{AUDIO.format(1)}.paused && !{AUDIO.format(2)}.paused")
    # The page hears of a pause a moment after the player stands still.
    wait(browser, "document.querySelector('#r1 .play').innerText === 'Play'")
    time = browser.run(f"{AUDIO.format(1)}.currentTime")
    assert time > 0.4
    assert cursor(browser) == pytest.approx(time / 4, abs=0.002)
    wait(browser, f"{AUDIO.format(2)}.ended")
    wait(browser, "document.querySelector('#r2 .play').innerText === 'Play'")
    assert cursor(browser, 2) == pytest.approx(1, abs=0.002)
    browser.driver.find_element("css selector", "#r2 .play").click()  # from the start again
    wait(browser, f"!{AUDIO.format(2)}.paused && {AUDIO.format(2)}.currentTime < 1")
    assert browser.driver.get_log("browser") == []


@pytest.mark.slow
def test_click_and_drag_go_to_a_time(browser: Browser, made: list[tuple[Recording, Tiers]]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    show(browser, 1200)
    track = made[0][0].track
    assert track is not None
    for share in (0.05, 0.4, 0.66, 0.97):
        click(browser, share)
        wait(browser, f"!{AUDIO.format(1)}.seeking")
        time = browser.run(f"{AUDIO.format(1)}.currentTime")
        assert time == pytest.approx(4 * share, abs=0.01)
        assert cursor(browser) == pytest.approx(share, abs=0.002)
        window = np.abs((track.start_s + track.end_s) / 2 - time).argmin()
        assert shares(browser) == pytest.approx(100 * track.posteriors[window], abs=0.51)
        best = browser.run("document.querySelector('#r1 .legend .best').innerText.trim().split(/\\s/)[0]")
        assert best == EMOTIONS[track.posteriors[window].argmax()]
        words = browser.run("[...document.querySelectorAll('#r1 .tier .on')].map(b => b.title)")
        said = [each.symbol for tier in (WORDS, PHONES) for each in tier if each.start_s <= time < each.end_s]
        assert words == said
        line = browser.run("document.querySelector('#r1 .said').innerText")
        assert all(word in line for word in said)
    chart = browser.driver.find_element("css selector", "#r1 .chart")
    left = -round(0.4 * chart.size["width"])
    ActionChains(browser.driver).move_to_element_with_offset(chart, left, 0).click_and_hold().move_by_offset(
        round(0.5 * chart.size["width"]), 3
    ).perform()
    assert cursor(browser) == pytest.approx(0.6, abs=0.003)
    ActionChains(browser.driver).release().move_by_offset(50, 0).perform()
    assert cursor(browser) == pytest.approx(0.6, abs=0.003)
    assert browser.driver.get_log("browser") == []


@pytest.mark.slow
def test_by_keyboard_alone_and_read_out(browser: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(browser, 1200)

    def press(key: str, shift: bool = False) -> float:
        actions = ActionChains(browser.driver)
        if shift:
            actions = actions.key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT)
        else:
            actions = actions.send_keys(key)
        actions.perform()
        return float(browser.run(f"{CHART}.getAttribute('aria-valuenow')"))

    press(Keys.TAB)
    assert browser.run("document.activeElement.innerText") == "Skip to the recordings"
    reached = []
    while len(reached) < 20 and "Time in talk.wav" not in reached:
        press(Keys.TAB)
        reached.append(browser.run("document.activeElement.getAttribute('aria-label')"))
        assert browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached[-2:] == ["Play talk.wav", "Time in talk.wav"]
    assert press(Keys.ARROW_RIGHT) == 0.1
    assert press(Keys.ARROW_RIGHT, shift=True) == 1.1
    assert press(Keys.PAGE_UP) == 1.5
    assert press(Keys.ARROW_LEFT) == 1.4
    assert press(Keys.END) == 4
    wait(browser, f"!{AUDIO.format(1)}.seeking")
    assert press(Keys.HOME) == 0
    assert press(Keys.ARROW_LEFT) == 0
    press(Keys.SPACE)
    wait(browser, f"{AUDIO.format(1)}.currentTime > 0.2")
    press(Keys.SPACE)
    wait(browser, f"{AUDIO.format(1)}.paused")
    now = f"{AUDIO.format(1)}.currentTime"  # which the cursor follows at the next frame of the screen
    wait(browser, f"Math.abs({CHART}.getAttribute('aria-valuenow') - {now}) < 0.006")
    value = json.loads(browser.run(f"JSON.stringify([...{CHART}.attributes].map(a => [a.name, a.value]))"))
    attributes = dict(value)
    assert (attributes["role"], attributes["aria-valuemin"], attributes["aria-valuemax"]) == (
        "slider",
        "0.0",
        "4.0",
    )
    assert re.fullmatch(
        r"\d\.\d s, (anger|happiness|neutral|sadness) \d+ %, .*", attributes["aria-valuetext"]
    )
    assert browser.run("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-hidden'))")
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.driver.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark", "media"),
    [
        pytest.param(1200, False, "", id="desktop"),
        pytest.param(400, False, "", id="phone"),
        pytest.param(400, True, "", id="dark"),
        pytest.param(320, False, "", id="small phone"),
        pytest.param(700, False, "print", id="print"),
    ],
)
def test_looks(browser: Browser, width: int, dark: bool, media: str) -> None:
    """Nothing is wider than the device, no name leaves its chart or touches another, all can be read."""
    show(browser, width, dark, media)
    assert browser.run("document.documentElement.scrollWidth") <= width
    overlaps = """(() => { const bad = [];
      for (const lane of document.querySelectorAll('.track, .axis')) {
        const frame = lane.getBoundingClientRect();
        const boxes = [...lane.querySelectorAll('span')].map(s => [s.innerText, s.getBoundingClientRect()]);
        boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([two, b]) => {
          const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (wide > 1 && high > 2) bad.push(one + ' / ' + two); }));
        for (const [text, box] of boxes)
          if (box.left < frame.left - 2 || box.right > frame.right + 2) bad.push(text + ' is cut off'); }
      return bad; })()"""
    assert browser.run(overlaps) == []
    for ground in ("--paper", "--raised"):
        for name in ("--ink", "--soft", "--link"):
            assert browser.run(f"{CONTRAST}('{name}', '{ground}')") >= 4.5, (name, ground)
    if media != "print":
        for number in range(8):  # names stand in areas in the colour of the paper
            assert browser.run(f"{CONTRAST}('--c{number}', '--paper')") >= 4.5, number
    darkness = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (darkness == "rgb(20, 22, 26)") == dark
    shown = browser.run("getComputedStyle(document.querySelector('.controls')).display")
    assert (shown == "none") == (media == "print")
    assert (
        browser.run("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'))") == []
    )
    assert browser.driver.title == "Emotion over time: 4 recordings"
    assert browser.run("[...document.querySelectorAll('h2')][1].innerText") == HOSTILE
    boxes = "[...document.querySelectorAll('#r1 .tier b')].filter(b => b.textContent)"
    wider = browser.run(f"{boxes}.map(b => b.scrollWidth - b.clientWidth)")
    assert max(wider, default=0) <= 1
    assert wider or width < 500
