"""Sphinx's settings for the course's site; `make site` writes its sources and builds it."""

project = "Faces, attributes and masks"
html_title = "Faces, attributes and masks"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "elfw_course.site.extension"]

# They have no solutions: to download, not to read.
exclude_patterns = ["notebooks/student"]
# The notebooks are shown as they were executed.
nb_execution_mode = "off"
nb_merge_streams = True
# What `show_metrics` leaves for the tests is no picture of anything: its text is shown.
nb_mime_priority_overrides = [("html", "application/vnd.elfw.metrics+json", None)]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# A text of the project may begin below a title, and may lead to a folder or a script that is no page.
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

autodoc_default_options = {"members": True, "ignore-module-all": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
# Docstrings put names between single backticks.
default_role = "code"
add_module_names = False
html_math_renderer = "mathml"

html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
# A summary of each result would be fetched, which browsers forbid to pages that are files.
html_show_search_summary = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
