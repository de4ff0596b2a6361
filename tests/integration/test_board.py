"""The live page as people see it: headless Chromium on the real program, the real Kafka and the real Elasticsearch.

It has a stack of its own, which the last tests break. Nothing here waits longer than it must; a page may be two
seconds behind what is committed, and no more.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from consumers.board import feed
from pipeline.cli.demo import screenshot
from pipeline.events.records import Modality
from pipeline.join.tracker import Position
from pipeline.telemetry.health import Health
from tests.support.board import BoardPlace, shown
from tests.support.browser import chromium
from tests.support.own_topics import WAIT_S
from tests.support.predictions import a_prediction

pytestmark = pytest.mark.stack
ALL = tuple(Modality)
FRESH_MS = 2_000
PATIENCE_MS = 30_000
ENDS_WITHIN_S = 8
PARTIAL_BAR = (0xD9, 0xA4, 0x41)
HOSTILE = """<img src=x onerror="document.title='taken'">"""
PHONE = {"width": 375, "height": 700}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def place(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardPlace]:
    with shown(tmp_path_factory.mktemp("board")) as place:
        yield place


@pytest.fixture
def page(browser: Browser, place: BoardPlace) -> Iterator[Page]:
    """The page, open and live. What its console complains of fails the test."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # A search that fails is told on the page; Chromium also tells it here.
        if message.type in {"warning", "error"} and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    context = browser.new_context()
    page = context.new_page()
    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(place.address)
    expect(page.locator("#status-text")).to_have_text("Live", timeout=PATIENCE_MS)
    yield page
    context.close()
    assert complaints == []


def test_a_prediction_is_seen_with_its_inputs_within_two_seconds_of_its_commit(place: BoardPlace, page: Page) -> None:
    place.predict(a_prediction(0, key="to warm up"))
    expect(page.locator("#answer")).to_contain_text("to warm up", timeout=PATIENCE_MS)
    prediction = a_prediction(1, key="door-17", label="3", modalities=ALL, sources=place.inputs("door-17"))
    place.predict(prediction)
    expect(page.locator("#recent li:first-child")).to_contain_text("door-17", timeout=FRESH_MS)
    answer = page.locator("#answer")
    expect(answer.locator(".verdict")).to_have_text("3")
    expect(answer.locator(".image img")).to_have_js_property("naturalWidth", 16)
    expect(answer.locator(".speech polygon")).to_have_count(1)
    expect(answer.locator(".sensor .pen polyline").first).to_be_visible()


def test_partial_and_amended_answers_are_marked(place: BoardPlace, page: Page) -> None:
    partial = a_prediction(2, key="half", modalities=ALL[:2], sources=())
    place.predict(partial)
    expect(page.locator("#answer .badge")).to_have_text("2 of 3 inputs", timeout=PATIENCE_MS)
    expect(page.locator("#answer .missing")).to_have_count(3)
    place.predict(replace(partial, revision=1, modalities=ALL))
    expect(page.locator("#answer .badge")).to_have_text("amended", timeout=PATIENCE_MS)


def test_text_from_the_topics_stays_text(place: BoardPlace, page: Page) -> None:
    place.predict(a_prediction(3, key=HOSTILE, label="<b>bold</b>", probabilities={"<i>": 1.0}, model="<u>"))
    place.set_aside(f"A sentence with {HOSTILE}", HOSTILE.encode())
    place.index([a_prediction(3, key=HOSTILE, label="<b>bold</b>")])
    expect(page.locator("#answer .verdict")).to_have_text("<b>bold</b>", timeout=PATIENCE_MS)
    expect(page.locator("#dead li").first).to_contain_text(f"A sentence with {HOSTILE}", timeout=PATIENCE_MS)
    page.fill("#query", 'label:"<b>bold</b>"')
    page.press("#query", "Enter")
    expect(page.locator("#found tbody tr")).to_contain_text(HOSTILE)
    assert page.locator("[onerror], main b, main i, main u").count() == 0
    expect(page).to_have_title("trimodal")


def test_lanes_show_what_is_committed_and_what_is_unfinished(place: BoardPlace, page: Page) -> None:
    place.topics.publish(place.topics.speech, *[b"x"] * 20)
    place.topics.commit(Position(low=3, high=11, unfinished=(3, 7), replay_from=0))
    cells = page.locator("#lanes tr").first.locator("td")
    expect(cells.nth(0)).to_have_text("3", timeout=PATIENCE_MS)
    expect(cells.nth(0).locator(".open")).to_have_count(2)
    expect(cells.nth(3)).to_have_text("2")


def test_search_finds_and_says_what_is_wrong(place: BoardPlace, page: Page) -> None:
    place.index([a_prediction(number, key=f"found-{number}", label="77") for number in range(3)])
    page.fill("#query", "label:77 AND confidence:>0.9")
    page.press("#query", "Enter")
    expect(page.locator("#found-says")).to_have_text("3 matches.")
    expect(page.locator("#found tbody tr")).to_have_count(3)
    page.fill("#query", "labl:3")
    page.click("#search button")
    expect(page.locator("#found-says")).to_contain_text("No prediction has a field labl")
    expect(page.locator("#found tbody tr")).to_have_count(0)


def test_many_are_counted_and_few_are_shown_and_nothing_moves(place: BoardPlace, page: Page) -> None:
    before = page.locator("#lanes-title").bounding_box()
    counted = int(page.locator("#rate-more").inner_text().split()[0].replace(",", ""))
    place.predict(*(a_prediction(number, key=f"many-{number}", sources=()) for number in range(1_500)))
    expect(page.locator("#rate-more")).to_contain_text(f"{counted + 1_500:,} since", timeout=PATIENCE_MS)
    expect(page.locator("#recent li:first-child")).to_contain_text("many-")
    assert page.locator("#recent li").count() == 8
    assert page.locator("#lanes-title").bounding_box() == before


def test_what_cannot_be_kept_up_with_is_passed_over(place: BoardPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL_RECORDS", 1)  # so that every batch is full,
    monkeypatch.setattr(feed, "LONGEST_BEHIND_MS", -60_000)  # and every record is old
    told: Queue[Any] = Queue()
    reading = feed.Feed(place.settings, feed.Outlet(lambda _, state: told.put(state), lambda *_: None), Health())
    place.predict(*(a_prediction(number, sources=()) for number in range(50)))
    stop = threading.Event()
    thread = threading.Thread(target=reading.run, args=(stop,))
    thread.start()
    try:
        while not (summary := told.get(timeout=WAIT_S)).skipped:
            pass
    finally:
        stop.set()
        thread.join()
    assert summary.predictions == 0
    assert summary.skipped >= 50  # a transaction's markers have offsets too


def test_the_demos_picture_is_of_a_page_that_is_filled(place: BoardPlace, page: Page, tmp_path: Path) -> None:
    place.predict(a_prediction(8, key="pictured", latency_ms=1_000.0, sources=()))
    expect(page.locator("#latency-more")).to_contain_text("partial", timeout=PATIENCE_MS)
    file = tmp_path / "board.png"
    screenshot.take(f"{place.address}#still", file)
    with Image.open(file) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert PARTIAL_BAR in colours


def test_an_answer_can_be_held_by_the_keyboard(place: BoardPlace, page: Page) -> None:
    place.predict(a_prediction(4, key="hold-me", sources=()))
    first = page.locator("#recent li:first-child button")
    expect(first).to_contain_text("hold-me", timeout=PATIENCE_MS)
    first.press("Enter")
    place.predict(a_prediction(5, key="newer", sources=()))
    expect(page.locator("#recent-more")).to_have_text("held, 1 newer", timeout=PATIENCE_MS)
    expect(page.locator("#answer")).to_contain_text("hold-me")
    page.keyboard.press("Escape")
    page.locator("#query").focus()
    expect(page.locator("#answer")).to_contain_text("newer")


def test_a_phone_has_no_sideways_scroll_and_the_theme_can_be_changed(place: BoardPlace, page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of the same shape
    long_key = "k" * 256
    place.predict(a_prediction(6, key=long_key, label="a label that is longer than a phone is wide", sources=()))
    place.set_aside("d" * 200, long_key.encode())
    place.index([a_prediction(6, key=long_key, label="long")])
    expect(page.locator("#dead li").first).to_contain_text("d" * 200, timeout=PATIENCE_MS)
    expect(page.locator("#answer")).to_contain_text(long_key, timeout=PATIENCE_MS)
    page.fill("#query", "label:long")
    page.press("#query", "Enter")
    expect(page.locator("#found tbody tr")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate(ground) != light


def test_without_elasticsearch_the_search_says_so(place: BoardPlace, page: Page) -> None:
    place.stack.kill("elasticsearch")
    page.fill("#query", "label:3")
    page.press("#query", "Enter")
    expect(page.locator("#found-says")).to_contain_text("check elasticsearch.url", timeout=PATIENCE_MS)


def test_it_survives_a_broker_restart_and_says_so_meanwhile(place: BoardPlace, page: Page) -> None:
    place.stack.kill("kafka-1")
    expect(page.locator("#banner")).to_contain_text("No connection to the broker since", timeout=PATIENCE_MS)
    expect(page.locator("#status-text")).to_have_text("No broker")
    place.stack.restart("kafka-1")
    expect(page.locator("#status-text")).to_have_text("Live", timeout=PATIENCE_MS)
    expect(page.locator("#banner")).to_be_hidden()
    place.predict(a_prediction(7, key="after the restart", sources=place.inputs("after the restart")))
    expect(page.locator("#answer")).to_contain_text("after the restart", timeout=PATIENCE_MS)
    expect(page.locator("#answer .image img")).to_be_visible()


def test_it_ends_although_browsers_watch_and_the_page_says_so(place: BoardPlace, page: Page) -> None:
    began_s = time.monotonic()
    place.board.terminate()
    assert place.board.wait(WAIT_S) == 0
    assert time.monotonic() - began_s < ENDS_WITHIN_S
    expect(page.locator("#banner")).to_contain_text("No connection to the board", timeout=PATIENCE_MS)
