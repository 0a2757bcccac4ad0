"""How this documentation is built: `python -m sphinx notebooks/docs build/docs`."""

import sys
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "sbi_kit"
release = metadata.version("sbi_kit")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

default_role = "code"  # docstrings write code between single backticks
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"sbi_kit {release}"
html_theme_options = {"footer_icons": []}
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_sourcelink = False
html_show_copyright = False


def skip_request(_app, _what, name, _obj, skip, _options):
    """Leave out what scikit-learn adds to every estimator, whose links lead nowhere here."""
    return skip or (name.startswith("set_") and name.endswith("_request"))


def setup(app: Sphinx) -> None:
    """Make the figures before the pages are read."""
    import figures

    app.connect("builder-inited", lambda app: figures.write(Path(app.srcdir) / "figures"))
    app.connect("autodoc-skip-member", skip_request)
