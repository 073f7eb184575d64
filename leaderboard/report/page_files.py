"""The page's style sheets and scripts, and the files that can be saved from it."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

#: They are joined in this order to one script; later ones may use what earlier ones declare.
SCRIPTS = (
    "theme.js", "tables.js", "views.js", "choose.js", "save.js", "save_figures.js", "save_tables.js", "layout.js",
)  # fmt: skip
STYLES = ("page.css", "parts.css", "print.css")


def style() -> str:
    """All style sheets. The colours of both themes are written once, and applied as the reader or the system asks."""
    light, dark = read("light.css"), read("dark.css")
    themes = (
        f":root {{\n{light}}}\n"
        f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{\n{dark}}} }}\n'
        f'@media screen {{ :root[data-theme="dark"] {{\n{dark}}} }}\n'
        f'@media print {{ :root, :root:not([data-theme="light"]) {{\n{light}}} }}\n'
    )
    return themes + "".join(map(read, STYLES))


def script() -> str:
    """All scripts as one that defines no global names."""
    return '"use strict";\n(() => {\n' + "\n".join(map(read, SCRIPTS)) + "})();\n"


def script_hash(text: str) -> str:
    """The source expression of a script in the page's content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def data_url(text: str, kind: str) -> str:
    """A text as a data link, so that a reader can save it without scripts."""
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode('ascii')}"


def read(name: str) -> str:
    """The text of a file beside the templates."""
    return resources.files("leaderboard.report").joinpath("templates", name).read_text(encoding="utf-8")
