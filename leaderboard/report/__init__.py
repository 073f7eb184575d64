"""The page: one self-contained ``index.html`` that opens from disk.

Templates are Jinja's. Figures are drawn by matplotlib as inline SVG: static, a few hundred kB, in the reader's light or
dark theme, printable and visible without scripts; an interactive library would add several MB of its own.
Tables are HTML tables; a small script sorts and searches them. A content security policy in the page forbids
everything that is not in the page.

Both libraries are imported when a page is written, not when this package is.

The package can be called: ``leaderboard.report(...)`` is `making.report`, whether or not this package has been imported
(which puts it in that name's place).
"""

import sys
from importlib import import_module
from types import ModuleType

from leaderboard.cohort.banner import BANNER as BANNER
from leaderboard.cohort.banner import SYNTHETIC as SYNTHETIC

#: The page's file.
PAGE = "index.html"
DEFAULT_TITLE = "Leaderboard"


class _Callable(ModuleType):
    def __call__(self, *arguments: object, **settings: object) -> object:
        return import_module(f"{__name__}.making").report(*arguments, **settings)


sys.modules[__name__].__class__ = _Callable
