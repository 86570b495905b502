"""report.html: what the file holds, and how a real Chromium shows it."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ser.reporting.attention import Picture, read_pictures
from ser.reporting.page import page
from ser.reporting.report import Report, make_report
from tests.browser import CONTRAST, Browser, opened
from tests.report.experiment import Made

TABLE = "document.getElementById('systems').parentNode.querySelector('table')"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def report(made: Made) -> Report:
    return make_report("mini", made.plan, "./run.sh --corpus mini")


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return page(
        report, [Picture("corpus_vowels", "Vowels", "Attention over vowels.", f"data:image/png;base64,{DOT}")]
    )


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    assert html.startswith("<!doctype html>")
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", html)
    assert references
    assert all(text.startswith(("#", "data:", "{", "var(")) for text in references), references
    assert not re.search(r"@import|<link(?! rel=\"icon\" href=\"data:,\")|<script [^>]*src", html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)
    assert len(html) < 600_000


def test_what_users_wrote_is_text(report: Report) -> None:
    """A system's settings or a command line cannot put markup into the page."""
    report.settings["evil"] = "<script>alert(1)</script>"
    text = page(report)
    del report.settings["evil"]
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_drawings_of_stage_8(made: Made, tmp_path: Path) -> None:
    plan = dataclasses.replace(made.plan, exp=tmp_path)
    assert read_pictures(plan) == []
    folder = tmp_path / "interpret" / "blstmatt" / "corpus" / "figures"
    other = tmp_path / "interpret" / "other" / "corpus" / "figures"  # of a system that the plan does not name
    for each in (folder, other):
        each.mkdir(parents=True)
    (other / "phones.png").write_bytes(b"png")
    (folder / "vowel_consonant.png").write_bytes(base64.b64decode(DOT))
    (folder / "phones.png").write_bytes(b"png")
    (folder / "phones.svg").write_text("<svg/>")
    (folder / "made.json").write_text("{}")
    table = (
        "seed\tframes\tvowel\tconsonant\nseed1\tall\t1.3\t1.1\nseed2\tall\t1.2\t1.0\nseed1\tspeech\t9\t9\n"
    )
    (folder.parent / "vowel_consonant.tsv").write_text(table)
    pictures = read_pictures(plan)
    assert [(each.name, each.title, each.uri.partition(";")[0]) for each in pictures] == [
        ("blstmatt_corpus_vowel_consonant", "Vowels and consonants", "data:image/png"),
        ("blstmatt_corpus_phones", "Phones", "data:image/svg+xml"),
    ]
    assert pictures[0].reading == (
        "Attention a frame over vowels, consonants and the rest against uniform attention, and chance; "
        "blstmatt, alignment 'corpus': vowels get 1.25 of uniform attention, consonants 1.05."
    )
    assert pictures[0].uri.endswith(DOT)
    assert base64.b64decode(pictures[0].table.partition(",")[2]).decode() == table
    assert pictures[1].table == ""


# -------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(html: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    with opened(path) as shown:
        yield shown


def column(browser: Browser, number: int) -> list[str]:
    """The cells of the table of systems that are shown."""
    return browser.run(
        f"[...{TABLE}.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[{number}].innerText)"
    )


@pytest.mark.slow
def test_opens_sorts_and_filters(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.show(1280)
    assert browser.driver.title == "Results: mini"
    assert browser.driver.get_log("browser") == []
    assert (
        browser.run("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'))") == []
    )
    before = column(browser, 0)
    assert before[0] == "blstmatt"
    head = f"{TABLE}.tHead.rows[0].cells[5]"
    browser.run(f"{head}.querySelector('button').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)  # by keyboard alone
    scores = [float(cell.split()[0]) for cell in column(browser, 5)]
    assert scores == sorted(scores, reverse=True)
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "descending"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert [float(cell.split()[0]) for cell in column(browser, 5)] == scores[::-1]
    browser.run(f"{TABLE}.tHead.rows[0].cells[0].querySelector('button').click()")
    names = [
        "blstmatt",
        "csa_20",
        "csa_30",
        "csa_30 padded",
        "csa_60",
        "csa_60 padded",
        "majority",
        "syscomb",
    ]
    assert column(browser, 0) == names
    field = browser.driver.find_element("id", "filter")
    field.send_keys("csa maj")
    assert column(browser, 0) == [name for name in names if "csa" in name or name == "majority"]
    assert browser.run("document.getElementById('counter').innerText") == "4 systems shown"
    cards = "[...document.querySelectorAll('.card')].filter(c => !c.hidden).map(c => c.dataset.system)"
    assert browser.run(cards) == ["csa_20", "csa_30", "csa_60", "majority"]
    field.clear()
    field.send_keys(Keys.SPACE)
    assert column(browser, 0) == names
    assert browser.driver.get_log("browser") == []


@pytest.mark.slow
def test_every_table_can_be_had_as_csv(browser: Browser, report: Report) -> None:
    browser.show(1280)
    links = browser.run("[...document.querySelectorAll('a[download]')].map(a => [a.download, a.href])")
    sheets = [*report.sheets, *report.confusions, *(figure.sheet for figure in report.figures)]
    assert sorted(name for name, _ in links) == sorted(f"{sheet.name}.csv" for sheet in sheets)
    for sheet in sheets:
        uri = dict(links)[f"{sheet.name}.csv"]
        got = browser.driver.execute_async_script(
            "const done = arguments[1]; fetch(arguments[0]).then(r => r.text()).then(done)", uri
        )
        assert got == sheet.csv()


OVERLAPS = """(() => { const bad = [];
  for (const svg of document.querySelectorAll('figure svg')) {
    const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([two, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 2) bad.push(one + ' / ' + two); }));
    const frame = svg.getBoundingClientRect();
    for (const [text, box] of boxes)
      if (box.left < frame.left - 1 || box.right > frame.right + 1) bad.push(text + ' is cut off'); }
  return bad; })()"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark", "media"),
    [
        pytest.param(1280, False, "", id="desktop"),
        pytest.param(360, False, "", id="phone"),
        pytest.param(360, True, "", id="dark"),
        pytest.param(700, False, "print", id="print"),
    ],
)
def test_looks(browser: Browser, width: int, dark: bool, media: str) -> None:
    """Nothing is wider than the device, no label touches another, and all can be read."""
    browser.show(width, dark, media)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERLAPS) == []
    sizes = "[...document.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect())"
    assert min(browser.run(f"{sizes}.map(b => Math.min(b.width, b.height)).filter(x => x > 0)")) >= 5
    heights = browser.run(f"{sizes}.map(b => b.height)")
    assert sorted(heights)[len(heights) // 2] >= 8
    for ground in ("--paper", "--raised"):
        for name in ("--ink", "--soft", "--link"):
            assert browser.run(f"{CONTRAST}('{name}', '{ground}')") >= 4.5, (name, ground)
        for number in range(8):
            assert browser.run(f"{CONTRAST}('--c{number}', '{ground}')") >= 3, (number, ground)
    darkness = browser.run(f"{CONTRAST}('--paper', '--ink')")
    assert darkness > 12
    shown = browser.run("getComputedStyle(document.querySelector('.tools')).display")
    assert (shown == "none") == (media == "print")
    if media == "print":
        colours = [
            browser.run(f"getComputedStyle(document.body).getPropertyValue('--c{i}')") for i in range(8)
        ]
        assert all(re.fullmatch(r"#(.)\1\1", colour) for colour in colours)


@pytest.mark.slow
def test_can_be_used_without_sight_or_mouse(browser: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.show(1280)
    for part in ("[role=img][aria-label], img[alt]", "figcaption"):
        assert browser.run(f"[...document.querySelectorAll('figure')].every(f => f.querySelector('{part}'))")
    assert browser.run(
        "[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-hidden') === 'true')"
    )
    assert browser.run("document.querySelector('label[for=filter]') !== null")
    assert browser.run("[...document.querySelectorAll('th')].every(t => t.scope)")
    assert browser.run("document.documentElement.lang") == "en"
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert max(b - a for a, b in zip(levels, levels[1:], strict=False)) <= 1
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    assert browser.run("document.activeElement.innerText") == "Skip to the results"
    reached = set()
    for _ in range(20):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.add(
            browser.run(
                "document.activeElement.tagName + getComputedStyle(document.activeElement).outlineStyle"
            )
        )
    assert reached >= {"Asolid", "INPUTsolid", "BUTTONsolid", "DIVsolid"}
    assert not {text for text in reached if text.endswith("none")}
