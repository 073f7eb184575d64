"""``python -m leaderboard``, which executes nothing that happens to lie in the working directory.

Python puts that first on the path, where a file named like anybody's module is taken for it. It stays where
``PYTHONPATH`` names it, and where this package itself lies in it (a clone that is not installed).
"""

import os
import sys

if __name__ == "__main__":
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (pathlib is not read yet)
    if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()] != [home]:  # noqa: PTH109
        del sys.path[0]

    from leaderboard.cli import main

    sys.exit(main())
