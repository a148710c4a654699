"""Settings of Sphinx: ``pip install .[docs]``, then ``sphinx-build -W docs OUTPUT``."""

from __future__ import annotations

project = "pyiocp"
author = "the authors of pyiocp"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Windows I/O completion ports for Python"}
# Links to a heading of another page, as GitHub names headings.
myst_heading_anchors = 3
