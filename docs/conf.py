"""Sphinx configuration. Build with: make docs."""

from importlib.metadata import version as version_of

project = "lstmkit"
author = "The lstmkit developers"
copyright = "The lstmkit developers"
release = version = version_of("lstmkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"lstmkit {version}"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "imported-members": True}
napoleon_custom_sections = ["Shape", "Units", "Backends", "Engines", "Numerics", "Source"]
napoleon_use_rtype = False
