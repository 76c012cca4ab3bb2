"""The page in a real browser, over a real index and a model of random weights: what it finds is senseless, not how."""

import re
import shutil
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.search import Indexing, Searcher
from foveal.serving import Settings, create_app, listen
from foveal.serving.server import build_server

playwright = pytest.importorskip("playwright.sync_api", reason="Python package playwright is not installed")
KEY = "0123456789abcdef"
NASTY = "<img src=x onerror=document.title='hacked'>.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A dozen pictures of unequal shape in two folders, one with a name that is HTML."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        size = (320, 200) if number % 3 else (180, 300)
        picture = Image.new("RGB", size, tuple(np.random.default_rng(number).integers(0, 256, 3).tolist()))
        ImageDraw.Draw(picture).ellipse((20, 30, 120, 130), fill="white")
        place = folder / ("holiday" if number < 4 else "home")
        place.mkdir(exist_ok=True)
        picture.save(place / (NASTY if number == 5 else f"{number:02}.png"))
    return folder


@pytest.fixture(scope="module")
def searcher(photos, tmp_path_factory):
    torch.manual_seed(0)
    encoder = Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), ImageTransform(size=32), progress=False)
    index = str(tmp_path_factory.mktemp("index") / "index")
    Indexing(str(photos), index, tokens=4, regions=4)(lambda: encoder)
    return Searcher.open(index, encoder)


@pytest.fixture(scope="module")
def serve(searcher):
    """Addresses of services with these settings."""
    running = []

    def start(**settings):
        on = listen("127.0.0.1", 0)
        server = build_server(create_app(searcher, searcher.encoder, Settings(**settings)))
        thread = threading.Thread(target=server.run, args=([on],))
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return "http://{}:{}".format(*on.getsockname())

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def address(serve):
    return serve()


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine; Debian and Ubuntu: apt-get install chromium")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@dataclass
class Seen:
    """What the browser did besides showing the page."""

    outside: list = field(default_factory=list)
    complaints: list = field(default_factory=list)


@pytest.fixture
def visit(browser):
    """Pages in windows of their own. At the end, none asked another host for anything or complained."""
    seen, contexts = Seen(), []

    def open_page(address, path="/", allowed=(), **options):
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("request", lambda one: one.url.startswith((address, "blob:")) or seen.outside.append(one.url))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on(
            "console",
            lambda one: (
                one.type == "error"
                and not re.search("|".join(allowed) or "^$", one.text)
                and seen.complaints.append(one.text)
            ),
        )
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen == Seen()


@pytest.fixture
def page(visit, address):
    return visit(address, allowed=("400",))


def find(page, text):
    page.fill("#text", text)
    with page.expect_response("**/search") as answer:
        page.press("#text", "Enter")
    page.wait_for_selector("#grid:not(.waiting) .hit")
    return answer.value.json()["hits"]


def until(page, holds):
    """Wait for an expression to hold. Playwright's own way evaluates strings in the page, which its policy forbids."""
    for _ in range(300):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {holds}")


def shown(page):
    return page.locator(".hit .label").all_text_contents()


def test_a_long_text_is_asked_by_keyboard_alone(page):
    page.locator("header").click()
    page.keyboard.press("/")
    page.keyboard.type("a white circle, a red square and grass")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("with a second line")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    assert len(shown(page)) == 12
    assert "12 pictures" in page.text_content("#status")
    assert re.search(r"-?\d+\.\d", page.text_content(".hit .numbers"))
    assert "%" in page.text_content(".hit .numbers")
    page.locator(".hit").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("#viewer").is_visible()


def test_every_thumbnail_is_shown(page):
    find(page, "a circle")
    until(page, "[...document.querySelectorAll('.hit img')].slice(0, 4).every((one) => one.naturalWidth > 0)")


def test_hits_show_a_box_for_each_phrase_on_hover(page):
    hits = find(page, "a white circle and a red square")
    card = page.locator(".hit").first
    boxes = card.locator(".boxes")
    assert boxes.locator(".one").count() == len(hits[0]["boxes"]) == 2
    page.mouse.move(0, 0)
    assert boxes.evaluate("(one) => getComputedStyle(one).opacity") == "0"
    card.hover()
    until(page, "getComputedStyle(document.querySelector('.hit .boxes')).opacity === '1'")
    left = boxes.locator(".one").first.evaluate("(one) => parseFloat(one.style.left)")
    assert left == pytest.approx(100 * hits[0]["boxes"][0]["box"][0], abs=0.01)


def test_a_phrase_shows_its_heat(page):
    find(page, "a white circle and a red square")
    page.locator(".hit").first.click()
    assert page.locator("#phrases button").count() == 2
    assert page.locator("#heat").is_hidden()
    page.locator("#phrases button").first.click()
    page.wait_for_selector("#heat:not([hidden])")
    assert page.locator("#boxes .one").count() == 1
    colors = "document.getElementById('heat').getContext('2d').getImageData(0, 0, 512, 200).data"
    assert page.evaluate(f"{colors}.filter((_, n) => n % 4 === 3).reduce((most, one) => Math.max(most, one))") > 50
    page.fill("#phrase", "something else")
    page.press("#phrase", "Enter")
    page.wait_for_selector("#phrases li:nth-child(3) [aria-pressed=true]")


def test_walking_through_hits_and_back_to_where_one_was(page):
    find(page, "a circle")
    page.locator(".hit").nth(0).click()
    first = page.text_content("#name")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#name") != first
    page.keyboard.press("Escape")
    assert page.locator("#viewer").is_hidden()
    assert page.evaluate("[...document.querySelectorAll('.hit')].indexOf(document.activeElement)") == 1


def test_a_box_drawn_on_a_picture_is_what_is_searched_by(page, photos, searcher, monkeypatch):
    asked, search_many = [], searcher.search_many
    monkeypatch.setattr(searcher, "search_many", lambda queries: asked.extend(queries) or search_many(queries))
    page.set_input_files("#file", photos / "holiday" / "01.png")
    frame = page.locator("#frame").bounding_box()
    page.mouse.move(frame["x"] + 0.25 * frame["width"], frame["y"] + 0.5 * frame["height"])
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.75 * frame["width"], frame["y"] + 0.9 * frame["height"], steps=3)
    page.mouse.up()
    page.click("#go")
    page.wait_for_selector(".hit")
    assert asked[0].box == pytest.approx((0.25, 0.5, 0.75, 0.9), abs=0.02)
    assert asked[0].image.size == (320, 200)
    page.locator("#frame").focus()
    page.keyboard.press("Delete")
    assert page.locator("#box").is_hidden()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    assert page.locator("#box").evaluate("(one) => parseFloat(one.style.left)") == pytest.approx(27)


def test_a_picture_may_be_dropped(page):
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(50, 40);
            canvas.getContext('2d').fillRect(0, 0, 20, 20);
            const files = new DataTransfer();
            files.items.add(new File([await canvas.convertToBlob()], 'a.png', { type: 'image/png' }));
            document.dispatchEvent(new DragEvent('drop', { dataTransfer: files, cancelable: true }));
        }"""
    )
    page.click("#go")
    page.wait_for_selector(".hit")
    assert page.locator("#sample").is_visible()


def test_filters_narrow_and_a_wrong_one_is_told(page):
    find(page, "a circle")
    page.click("#more")
    with page.expect_response("**/search"):
        page.fill("#path", "holiday/")
        page.press("#path", "Tab")
    until(page, "document.querySelectorAll('.hit').length === 4")
    assert page.text_content("#active") == "1"
    page.fill("#where", "no such column =")
    page.press("#where", "Tab")
    page.wait_for_selector("#status.wrong")
    assert "there is no column 'no'" in page.text_content("#status")


def test_more_like_this_leaves_the_picture_itself_out(page):
    find(page, "a circle")
    page.locator(".hit").first.click()
    name = page.text_content("#name")
    with page.expect_response("**/similar"):
        page.click("#like")
    until(page, "document.querySelectorAll('.hit').length === 11")
    assert page.locator("#viewer").is_hidden()
    assert name not in shown(page)


def test_a_hit_becomes_the_picture_to_search_by(page):
    find(page, "a circle")
    page.locator(".hit").first.click()
    page.click("#use")
    page.wait_for_selector("#frame:focus")
    page.click("#go")
    page.wait_for_selector("#grid:not(.waiting) .hit")
    page.click("#unpick")
    assert page.locator("#example").is_hidden()


def test_names_are_text_and_never_markup(page):
    find(page, "a circle")
    assert NASTY in shown(page)
    page.locator(".hit", has_text=NASTY).click()
    assert page.text_content("#name") == NASTY
    assert page.title() == "foveal"


def test_the_address_keeps_the_question(page):
    find(page, "a circle & more")
    page.reload()
    page.wait_for_selector(".hit")
    assert page.input_value("#text") == "a circle & more"
    page.go_back()
    until(page, "document.getElementById('text').value === ''")


@pytest.mark.parametrize("part", ["where=width+%3E+0", "path=home", "caption=a", "width=10"])
def test_an_address_with_a_filter_waits_for_a_click(visit, address, searcher, monkeypatch, part):
    asked, search_many = [], searcher.search_many
    monkeypatch.setattr(searcher, "search_many", lambda queries: asked.extend(queries) or search_many(queries))
    page = visit(address, f"/#text=a+circle&{part}", allowed=("400",))
    page.wait_for_timeout(500)
    assert asked == []
    assert page.locator("#options").is_visible()
    assert page.input_value("#text") == "a circle"
    name = part.partition("=")[0]
    assert page.input_value(f"#{name}")
    assert "press Search" in page.text_content("#status")
    with page.expect_response("**/search"):
        page.click("#go")
    assert len(asked) == 1


def test_it_works_below_a_path_of_a_proxy(visit, serve):
    below = serve(root_path="/photos")
    page = visit(below, "/photos/")
    find(page, "a circle")
    until(page, "document.querySelector('.hit img').naturalWidth > 0")
    assert page.evaluate("document.querySelector('.hit img').src").startswith(f"{below}/photos/thumbnails/")
    page.locator(".hit").first.click()
    until(page, "document.getElementById('large').naturalWidth > 0")
    page.goto(f"{below}/photos/docs")
    page.wait_for_selector("article")


def test_asking_for_nothing_is_told(page):
    page.click("#go")
    assert "Write what to look for" in page.text_content("#status")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_on_a_phone(visit, address, width):
    page = visit(address, viewport={"width": width, "height": 800}, has_touch=True, is_mobile=True)
    find(page, "a white circle and a red square")
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(wide)
    page.click("#more")
    assert not page.evaluate(wide)
    page.locator(".hit").first.tap()
    page.wait_for_selector("#viewer[open]")
    assert page.locator("#viewer").evaluate("(one) => one.scrollWidth <= one.clientWidth")
    small = (
        "[...document.querySelectorAll('#viewer button')].filter((one) => one.offsetHeight && one.offsetHeight < 40)"
    )
    assert page.evaluate(f"{small}.length") == 0


def test_dark_and_light(visit, address):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = visit(address, color_scheme="light")
    dark = visit(address, color_scheme="dark")
    before = light.evaluate(paper)
    assert before != dark.evaluate(paper)
    light.click("#theme")
    assert light.evaluate(paper) == dark.evaluate(paper)
    light.reload()
    assert light.evaluate(paper) == dark.evaluate(paper)
    light.click("#theme")
    assert light.evaluate(paper) == before


def test_everything_to_press_or_fill_has_a_name(page):
    find(page, "a circle")
    page.click("#more")
    page.locator(".hit").first.click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, select, a, img')].filter((one) =>
            !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length || one.hasAttribute('alt'))
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_key_is_asked_for_once(visit, serve):
    page = visit(serve(api_key=KEY), allowed=("401",))
    page.fill("#text", "a circle")
    page.press("#text", "Enter")
    for given in ("wrong", KEY):
        page.wait_for_selector("#locked[open]")
        page.fill("#key", given)
        page.press("#key", "Enter")
    page.wait_for_selector(".hit")
    until(page, "document.querySelector('.hit img').naturalWidth > 0")
    page.locator(".hit").first.click()
    until(page, "document.getElementById('large').naturalWidth > 0")
    page.reload()
    page.wait_for_selector(".hit")
    assert not page.locator("#locked").is_visible()


def test_the_endpoints_are_described_without_help_from_elsewhere(visit, address):
    page = visit(address, "/docs")
    page.wait_for_selector("article")
    assert "POST /search" in page.locator("article h2").first.text_content()
