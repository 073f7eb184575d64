"""The page: one self-contained ``index.html`` that opens from disk.

Templates are Jinja's. Figures are drawn by matplotlib as inline SVG: static, a few hundred kB, in the reader's light or
dark theme, printable and visible without scripts; an interactive library would add several MB of its own.
Tables are HTML tables; a small script sorts and searches them. A content security policy in the page forbids
everything that is not in the page.

Both libraries are imported when a page is written, not when this package is.
"""

from leaderboard.cohort.banner import BANNER as BANNER
from leaderboard.cohort.banner import SYNTHETIC as SYNTHETIC

#: The page's file.
PAGE = "index.html"
DEFAULT_TITLE = "Leaderboard"
