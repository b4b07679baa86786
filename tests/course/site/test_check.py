"""A check of a site finds what is wrong with it: in its files, and in a browser."""

import pytest

from elfw_course.browser import find_chromium
from elfw_course.site.check import (
    Findings,
    Look,
    check_files,
    check_look,
    check_site,
    describe_findings,
    open_browser,
)
from elfw_helpers.utils.errors import ElfwError

GOOD = '<!DOCTYPE html><html lang="en"><title>A</title><main><h1 id="top">A</h1>{}</main></html>'
BAD = [
    ('<a href="gone.html">x</a>', "gone.html leads nowhere"),
    ('<a href="#gone">x</a>', "#gone: no such place"),
    ('<img src="index.html">', "index.html has no alt text"),
    ('<script src="https://a.test/b.js"></script>', "https://a.test/b.js would be fetched"),
]


def write_page(folder, body: str) -> list:
    (folder / "index.html").write_text(GOOD.format(body), encoding="utf-8")
    return [folder / "index.html"]


@pytest.mark.parametrize(("body", "fault"), BAD)
def test_faults_in_the_files_are_found(tmp_path, body, fault):
    findings = Findings()
    check_files(tmp_path, write_page(tmp_path, body), findings)
    assert len(findings.faults) == 1
    assert findings.faults[0].startswith("index.html: ") and fault in findings.faults[0]


def test_a_page_without_fault_has_none(tmp_path):
    body = '<a href="index.html?v=1#top">x</a> <a href="https://a.test">y</a> <img src="index.html" alt="A">'
    findings = Findings()
    check_files(tmp_path, write_page(tmp_path, body), findings)
    assert describe_findings(findings) == "1 pages, 3 links, 1 pictures: 0 faults"


def test_without_a_site_it_is_said_how_to_build_one(tmp_path):
    with pytest.raises(ElfwError, match="make site"):
        check_site(tmp_path)


def test_faults_in_a_browser_are_found(tmp_path):
    if not find_chromium():
        pytest.skip("no site is opened in a browser without Chromium: sudo apt install chromium")
    body = (
        '<p style="color: #ccc">pale</p><p style="width: 2000px">wide</p><img src="no.png" alt="A">'
        '<script>console.error("oh"); fetch("https://a.test/x").catch(() => 0)</script>'
    )
    findings = Findings()
    write_page(tmp_path, body)
    with open_browser() as browser:
        check_look(browser, ["index.html"], Look(tmp_path.as_uri(), 390, "dark"), findings)
    assert findings.counts == {"views": 1, "accessibility checks": 1}
    text = "\n".join(findings.faults)
    for fault in (
        "console: oh",
        "asks for https://a.test/x",
        "broken picture",
        "px wider",
        "axe: color-contrast",
    ):
        assert fault in text
    assert "index.html (file, 390 px, dark): " in text
    assert "search (file, 390 px, dark): nothing is found" in text
