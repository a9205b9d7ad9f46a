"""How Sphinx builds the documentation: ``python -m sphinx -W -b html docs build/docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import provcrt_kernel

project = "PROV-CRT for notebooks"
author = "the PROV-CRT contributors"
copyright = "the PROV-CRT contributors; BSD-3-Clause"
release = version = provcrt_kernel.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "commands"]
exclude_patterns = ["_ext", "_build"]
html_theme = "furo"
html_title = f"PROV-CRT {version}"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

napoleon_google_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # NumPy style says them
autodoc_default_options = {"members": True, "show-inheritance": False}
