"""`elfw picture-apps`: photographs both apps, with rendered faces in them, for README and notebook 06."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, sync_playwright

from elfw_course.browser import FLAGS, find_chromium
from elfw_helpers.deployment.apps.serve import start_app
from elfw_helpers.utils.errors import ElfwError

WIDTH, HEIGHT = 1120, 760
# By the app's tab: the example that is pressed, and what is then to be seen, for those who do not see it.
PICTURES = {
    "attributes": (
        "spectacles",
        "The app of attributes: a rendered face with glasses, a heat map of the evidence, and three bars.",
    ),
    "segmentation": (
        "mouth-mask",
        "The app of masks: a rendered face under its coloured mask, and a legend of the classes.",
    ),
}
# The fifth example is a photo of a person. Pictures of people are never stored here.
HIDE_PHOTO = "document.querySelectorAll('[data-caption=\"Grace Hopper\"]').forEach((one) => one.remove())"


def picture_apps(folder: Path) -> list[Path]:
    """Write `app_attributes.png` and `app_segmentation.png`, with a description inside, into a folder.

    Raises:
        ElfwError: there is no Chromium.
        playwright.sync_api.Error: the app does not answer.
    """
    written = []
    with start_app() as app, open_page(app.url) as page:
        for name, (example, alt) in PICTURES.items():
            page.get_by_role("tab", name=name.capitalize()).click()
            page.evaluate(HIDE_PHOTO)
            page.locator(".examples:visible").get_by_role("button", name=example, exact=True).click()
            page.locator(f"#{name}-answer .answer h2:visible").wait_for()
            page.evaluate("window.scrollTo(0, 0)")
            # The colours of a pressed button fade in.
            page.wait_for_timeout(1000)
            written.append(folder / f"app_{name}.png")
            store_picture(page.screenshot(), written[-1], alt)
    return written


@contextmanager
def open_page(url: str) -> Iterator[Page]:
    """Open an address in a Chromium without a screen."""
    found = find_chromium()
    if not found:
        raise ElfwError("There is no Chromium. On Debian and Ubuntu: sudo apt install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(120_000)
        page.goto(url)
        page.locator(".examples:visible button").last.wait_for()
        yield page
        browser.close()


def store_picture(content: bytes, file: Path, alt: str) -> None:
    """Write a picture as PNG, with what is to be seen in it as its description."""
    description = PngInfo()
    description.add_text("Description", alt)
    with Image.open(io.BytesIO(content)) as picture:
        picture.convert("RGB").save(file, pnginfo=description, optimize=True)
