"""The apps in a real browser, without a screen; skipped where there is no Chromium."""

import re

import pytest
from axe_playwright_python import sync_playwright as axe
from PIL import Image
from playwright import sync_api as playwright

from elfw_course.browser import find_chromium
from elfw_helpers.deployment import predict
from elfw_helpers.deployment.apps.serve import start_app
from elfw_helpers.deployment.faces import Frame, whole_frame
from tests.deployment.app_models import make_models
from tests.faces import paint_face

# Nothing of the browser's own goes over the network; its camera is a drawn one.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
SECONDS = 60_000


@pytest.fixture(scope="module")
def app():
    """The apps, on untrained networks; a wide photo has two faces, any other fills with one."""

    def find_two_faces(image: Image.Image) -> list[Frame]:
        wide = image.width > 1.5 * image.height
        return [Frame(50, 40, 70, 10), Frame(130, 40, 50)] if wide else [whole_frame(*image.size)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "find_faces", find_two_faces)
        yield from serve_app()


def serve_app():
    with start_app(models=make_models("efficient_attributes", "mini_network", "efficient_unet")) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    found = find_chromium()
    if not found:
        pytest.skip("the apps are not tested in a browser without Chromium: sudo apt install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A page of the app, with every address that it asked for."""

    def __init__(self, browser, url: str, width: int = 1280, height: int = 900, **options):
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.asked: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page = self.context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.page.goto(url)
        self.page.locator(".examples:visible button").last.wait_for()
        self.page.get_by_text("choose a file").locator("visible=true").first.wait_for()

    def turn_to(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab).click()
        self.page.locator(f"#{tab.lower()}-answer").wait_for()

    def take_example(self, name: str) -> None:
        self.page.locator(".examples:visible").get_by_role("button", name=name).click()

    def send(self, file) -> None:
        self.page.locator("input[type=file]").first.set_input_files(file)

    def answer(self, app: str = "attributes") -> str:
        heading = self.page.locator(f"#{app}-answer h2:visible")
        heading.wait_for()
        return heading.inner_text()

    def faults(self) -> list[str]:
        """Return axe's serious and critical findings."""
        found = axe.Axe().run(self.page).response["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {one['nodes'][0]['html']}" for one in grave]


@pytest.fixture
def visit(browser, app):
    """Open the app; every page is closed at the end."""
    visitors = []

    def open_page(**options) -> Visitor:
        visitors.append(Visitor(browser, app.url, **options))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def face(tmp_path):
    Image.fromarray(paint_face(1, 0)[0]).resize((96, 80)).save(tmp_path / "face.jpg")
    return tmp_path / "face.jpg"


def test_an_upload_is_answered_and_the_networks_take_turns(visit, face):
    visitor = visit()
    visitor.send(face)
    assert visitor.answer() in ("hair", "spectacles", "cap")
    said = visitor.page.locator("#attributes-answer .by:visible")
    assert re.fullmatch(r"says EfficientNet-Lite0, in \d+ ms", said.inner_text())
    visitor.page.get_by_label("Mini network").click()
    playwright.expect(said).to_have_text(re.compile(r"says Mini network, in \d+ ms"))
    # The choice holds for the next photo.
    visitor.take_example("cap, beard")
    playwright.expect(visitor.page.locator("#attributes-answer img:visible").first).to_be_visible()
    playwright.expect(said).to_have_text(re.compile("says Mini network"))


def test_a_bad_upload_is_explained_and_the_next_one_answered(visit, face, tmp_path):
    (tmp_path / "bad.jpg").write_text("not a picture", encoding="utf-8")
    visitor = visit()
    visitor.send(tmp_path / "bad.jpg")
    assert visitor.answer() == "This photo gives no answer"
    assert "intact JPEG or PNG" in visitor.page.locator(".problem").inner_text()
    visitor.send(face)
    playwright.expect(visitor.page.locator("#attributes-answer .answer h2:visible")).to_be_visible()


def test_the_mask_fades_with_the_slider_and_can_be_kept(visit):
    visitor = visit()
    visitor.turn_to("Segmentation")
    visitor.take_example("Grace Hopper")
    assert visitor.answer("segmentation") in ("hair", "spectacles", "cap")
    page = visitor.page
    assert page.locator("#segmentation-answer .legend tr").count() == 7
    slider = page.locator("input[type=range]:visible")
    slider.focus()
    page.keyboard.press("Home")
    mask = page.locator("#segmentation-answer .mask")
    playwright.expect(mask).to_have_css("opacity", "0")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the mask").click()
    with Image.open(download.value.path()) as picture:
        assert (picture.size, picture.mode) == ((512, 600), "P")


def test_two_faces_are_numbered_in_both_apps(visit, tmp_path):
    Image.fromarray(paint_face(1, 0)[0]).resize((180, 80)).save(tmp_path / "two.png")
    visitor = visit()
    visitor.send(tmp_path / "two.png")
    two = r"1: (hair|spectacles|cap), 2: (hair|spectacles|cap)"
    assert re.fullmatch(two, visitor.answer())
    parts = visitor.page.locator("#attributes-answer h3:visible")
    assert [re.sub(": .*", "", text) for text in parts.all_inner_texts()] == ["Face 1", "Face 2"]
    visitor.turn_to("Segmentation")
    visitor.page.locator("input[type=file]").last.set_input_files(tmp_path / "two.png")
    assert re.fullmatch(two, visitor.answer("segmentation"))
    assert visitor.faults() == []


def test_nothing_is_asked_of_anybody_else(visit, app, face):
    visitor = visit()
    visitor.send(face)
    visitor.answer()
    visitor.turn_to("Segmentation")
    visitor.take_example("hair")
    visitor.answer("segmentation")
    assert len(visitor.asked) > 10
    elsewhere = [url for url in visitor.asked if not url.startswith((app.url, "data:", "blob:"))]
    assert elsewhere == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit, face, tmp_path, colours):
    visitor = visit(color_scheme=colours)
    assert visitor.faults() == []
    visitor.send(face)
    visitor.answer()
    visitor.page.get_by_role("button", name="Model card").locator("visible=true").click()
    assert visitor.faults() == []
    visitor.turn_to("Segmentation")
    visitor.take_example("spectacles")
    visitor.answer("segmentation")
    assert visitor.faults() == []


def test_a_narrow_phone_needs_no_sideways_scrolling(visit):
    visitor = visit(width=390, height=844)
    for tab in ("Attributes", "Segmentation"):
        visitor.turn_to(tab)
        visitor.take_example("mouth-mask")
        visitor.answer(tab.lower())
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_alone_is_enough(visit):
    visitor = visit()
    page, reached = visitor.page, []
    # From now on: asked for at the last moment only, Playwright misses some file choosers.
    page.on("filechooser", lambda chooser: None)
    focused = "document.activeElement.innerText || document.activeElement.ariaLabel"
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.append((page.evaluate(focused) or "").strip())
        if reached[-1] == "spectacles":
            break
        if "choose a file" in reached[-1]:
            with page.expect_file_chooser():
                page.keyboard.press("Enter")
    assert {"Attributes", "Drop a face here, or choose a file"} <= set(reached), reached
    page.keyboard.press("Enter")
    visitor.answer()
    while page.evaluate("document.activeElement.value") != "mini_network":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    playwright.expect(page.locator("#attributes-answer .by:visible")).to_contain_text("says Mini network")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    playwright.expect(
        page.get_by_text("telling who somebody is").locator("visible=true").first
    ).to_be_visible()


def test_a_refused_camera_is_taken_politely(visit):
    page = visit(permissions=[]).page
    page.get_by_role("button", name="Capture from camera").locator("visible=true").click()
    page.get_by_text("Click to Access Webcam").click()
    note = page.locator(".camera:visible").first
    playwright.expect(note).to_contain_text("A file or an example works as well.")


def test_the_camera_is_answered_like_a_file(visit):
    visitor = visit(permissions=["camera"])
    visitor.page.get_by_role("button", name="Capture from camera").locator("visible=true").click()
    visitor.page.get_by_text("Click to Access Webcam").click()
    # Before the camera's first picture a click takes none.
    visitor.page.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    visitor.page.get_by_role("button", name="capture photo").click()
    assert visitor.answer() in ("hair", "spectacles", "cap")
