"""The page: one self-contained ``index.html`` that opens from disk.

Templating is Jinja's. Figures are matplotlib's, drawn to inline SVG: static, a few hundred kB, in the reader's light or
dark theme, printable and there without a script, where an interactive library would bring several MB of its own.
Tables are HTML tables; a small script sorts and searches them. A content security policy in the page forbids
everything that is not in the page.

Both libraries are imported when a page is written, not when this package is.
"""

#: The page's file.
PAGE = "index.html"
DEFAULT_TITLE = "Leaderboard"
#: A file of this name beside a table or in a cohort holds what the page must say at its top.
BANNER = "banner.txt"
#: What the page says at its top of results on invented patients.
SYNTHETIC = (
    "Synthetic twin: these are results on invented patients, made to test the programs. They are not ISLES results and "
    "say nothing about how methods do on real scans."
)
