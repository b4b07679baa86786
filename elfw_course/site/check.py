"""Checks a built site: its links and alt texts in the files, and each page in a browser without a network."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page, Route, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from tqdm import tqdm

from elfw_course.browser import FLAGS, find_chromium
from elfw_helpers.utils.errors import ElfwError

# Widths of a desktop and of a phone, in CSS pixels.
WIDTHS, HEIGHT = (1280, 390), 900
COLOURS = ("light", "dark")
# Not to load the page's style sheets a second time, which files may not.
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
SEARCHED = "overfitting"
IS_BROKEN = "Array.from(document.images).filter((one) => !one.naturalWidth).map((one) => one.src)"
TOO_WIDE = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


@dataclass
class Findings:
    """What a check counted, and what it found wrong.

    Attributes:
        counts: how many pages, links, pictures, views and accessibility checks there were, by name.
        faults: a line for each fault: the page, and what is wrong.
    """

    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + number


def check_site(folder: Path) -> Findings:
    """Check all pages of a site: its files, then in Chromium from file:// and from a subpath of a server.

    Raises:
        ElfwError: there is no site, or no Chromium.
    """
    pages = sorted(folder.rglob("*.html"))
    if folder / "index.html" not in pages:
        raise ElfwError(f"there is no site in {folder}: `make site` builds it.")
    pages = [page for page in pages if "_static" not in page.relative_to(folder).parts]
    findings = Findings()
    check_files(folder, pages, findings)
    check_views(folder, pages, findings)
    return findings


def describe_findings(findings: Findings) -> str:
    """Return what was counted in a line, and a line for each fault."""
    counts = ", ".join(f"{number} {name}" for name, number in findings.counts.items())
    return "\n".join([*findings.faults, f"{counts}: {len(findings.faults)} faults"])


def check_files(folder: Path, pages: list[Path], findings: Findings) -> None:
    """Find dead links and anchors, pictures without alt text, and whatever would be fetched from the web."""
    parsed = {page: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser") for page in pages}
    anchors = {page.resolve(): {tag["id"] for tag in soup.select("[id]")} for page, soup in parsed.items()}
    findings.count("pages", len(pages))
    for page, soup in parsed.items():
        name = page.relative_to(folder)
        for tag in soup.select("a[href], link[href], img[src], script[src]"):
            fault = _find_dead_link(page, tag.get("href") or tag["src"], tag.name != "a", anchors)
            findings.count("links")
            findings.faults += [f"{name}: {fault}"] if fault else []
        for picture in soup.select("img"):
            alt = picture.get("alt", "")
            findings.count("pictures")
            if not alt.strip() or alt.endswith((".png", ".jpg", ".svg")):
                findings.faults.append(f"{name}: {picture['src']} has no alt text")


def _find_dead_link(page: Path, address: str, fetched: bool, anchors: dict[Path, set[str]]) -> str | None:
    """Say what is wrong with an address on a page, if something is.

    Args:
        fetched: the browser fetches it by itself; else it is for a reader to follow.
        anchors: the ids on each page of the site.
    """
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return f"{address} would be fetched from the web" if fetched and parts.scheme != "data" else None
    target, anchor = parts.path, parts.fragment
    file = (page.parent / unquote(target)).resolve() if target else page.resolve()
    if not file.is_file():
        return f"{address} leads nowhere"
    if anchor and file in anchors and unquote(anchor) not in anchors[file]:
        return f"{address}: no such place on that page"
    return None


def check_views(folder: Path, pages: list[Path], findings: Findings) -> None:
    """Open each page in a browser: at both widths and in both colours as a file, and once from a server.

    The server has the site in a folder, as project pages on the web are.
    """
    names = [page.relative_to(folder).as_posix() for page in pages]
    folder = folder.resolve()
    with open_browser() as browser, serve_folder(folder.parent) as address:
        for width in WIDTHS:
            for colours in COLOURS:
                check_look(browser, names, Look(folder.as_uri(), width, colours), findings)
        check_look(browser, names, Look(f"{address}/{folder.name}", WIDTHS[0], COLOURS[0], False), findings)


@dataclass(frozen=True)
class Look:
    """A way to look at the site.

    Attributes:
        base: the address of its folder.
        width: of the window, in CSS pixels.
        colours: light or dark.
        with_axe: look for faults of accessibility, too.
    """

    base: str
    width: int
    colours: str
    with_axe: bool = True

    def __str__(self) -> str:
        return f"{self.base.partition(':')[0]}, {self.width} px, {self.colours}"


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open a Chromium without a screen; raise ElfwError if there is none."""
    found = find_chromium()
    if not found:
        raise ElfwError("There is no Chromium. On Debian and Ubuntu: sudo apt install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        yield browser
        browser.close()


def check_look(browser: Browser, names: list[str], look: Look, findings: Findings) -> None:
    """Open pages by their names in the site, search it, and add what is wrong to the findings."""
    viewport = {"width": look.width, "height": HEIGHT}
    context = browser.new_context(viewport=viewport, color_scheme=look.colours, reduced_motion="reduce")
    page = context.new_page()
    faults = watch_page(page, look.base)
    for name in tqdm(names, desc=str(look)):
        page.goto(f"{look.base}/{name}")
        faults += find_faults(page, look.with_axe)
        findings.faults += [f"{name} ({look}): {fault}" for fault in faults]
        faults.clear()
    findings.count("views", len(names))
    findings.count("accessibility checks", len(names) * look.with_axe)
    findings.faults += [f"search ({look}): {fault}" for fault in search_site(page, look.base)]
    context.close()


def watch_page(page: Page, base: str) -> list[str]:
    """Return a list that fills with a page's errors, and with what it asks of the web and does not get."""
    faults = []

    def answer(route: Route) -> None:
        if route.request.url.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"asks for {route.request.url}")
            route.abort()

    page.route("**/*", answer)
    page.on("console", lambda line: faults.append(f"console: {line.text}") if line.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("requestfailed", lambda request: faults.append(f"not loaded: {request.url}"))
    return faults


def find_faults(page: Page, with_axe: bool) -> list[str]:
    """Return what is wrong with the page that is open: pictures, width and, if wanted, accessibility."""
    faults = [f"broken picture {source}" for source in page.evaluate(IS_BROKEN)]
    if (wider := page.evaluate(TOO_WIDE)) > 0:
        faults.append(f"{wider} px wider than the window")
    if with_axe:
        for found in Axe().run(page, options=AXE_OPTIONS).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                places = [str(node["target"]) for node in found["nodes"]]
                faults.append(f"axe: {found['id']} at {len(places)} places, such as {places[0]}")
    return faults


def search_site(page: Page, base: str) -> list[str]:
    """Search for a word that notebooks teach; return a fault if nothing is found."""
    try:
        page.goto(f"{base}/search.html?q={SEARCHED}")
        page.locator("#search-results li").first.wait_for(timeout=10_000)
    except PlaywrightError as error:
        return [f"nothing is found for {SEARCHED!r}: {error}"]
    return []


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone, and yield the address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""
