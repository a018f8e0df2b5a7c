"""Configuration of the documentation site: `make docs` builds it, from this repository alone."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import pages  # noqa: E402  (beside this file, and needs the path above)

import lth  # noqa: E402

project = "lth"
author = "the authors of lth"
copyright = "the authors of lth"
version = release = lth.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_nb"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are kept with their outputs (`make notebooks`)
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python"]  # fields named as types are

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "literal"  # docstrings write names in plain backticks now and then

html_theme = "furo"
html_title = "lth"
html_static_path = []
html_show_sphinx = False
html_show_copyright = False
templates_path = []


def setup(app):
    """Write the pages that come from YAMLs, docstrings, the README and the notebooks."""
    app.connect("builder-inited", lambda _: pages.write(HERE))
