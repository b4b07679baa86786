"""Builds the site with Sphinx."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

from elfw_course.site.sources import write_sources
from elfw_helpers.utils.errors import ElfwError, MissingPackage

PACKAGES = ("sphinx", "myst_nb", "furo")


def build_site(project: Path, out: Path) -> Path:
    """Build the site of the notebooks as they are committed, without executing anything.

    Args:
        project: the course's checkout.
        out: the site's folder; what was in it is removed. Its sources lie beside it.

    Returns:
        The file of the front page.

    Raises:
        ElfwError: a notebook has not been executed, a link leads nowhere, or a package is missing.
    """
    require_packages()
    sources, finished = out.with_name(f"{out.name}-sources"), out / "index.html"
    write_sources(project, sources)
    shutil.rmtree(out, ignore_errors=True)
    from sphinx.cmd.build import main as run_sphinx

    # A warning is an error: it is a dead link, a missing picture, or a docstring that cannot be read.
    options = ["-W", "--keep-going", "-E", "-b", "html", "-d", f"{sources}/.doctrees"]
    if run_sphinx([*options, "-c", str(project / "docs" / "site"), str(sources), str(out)]):
        raise ElfwError(f"the site in {out} is not as it should be: mend what the lines above name.")
    return finished


def require_packages() -> None:
    """Import what builds the site, or raise MissingPackage with the command that installs it."""
    try:
        for package in PACKAGES:
            import_module(package)
    except ImportError as error:
        raise MissingPackage(f'{error}. To build the site, do: pip install -e ".[site]"') from None
