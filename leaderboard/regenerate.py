"""Rebuild every committed leaderboard from its committed cases.csv: ``python -m leaderboard.regenerate [--write] DIR``.

Each folder of DIR (``leaderboard/results``) holds cases.csv, the leaderboard.csv and leaderboard.md made from it, and
where other than the defaults were chosen a settings.json with the fields of `options.RankingOptions` (and
``published``, the name of a quoted table to show). A byte that differs is a failure; ``--write`` writes the files.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from leaderboard.cases import read_cases
from leaderboard.errors import InputError
from leaderboard.io.images import write_text
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.report.leaderboard_files import leaderboard_csv, leaderboard_markdown
from leaderboard.report.published import read_published
from leaderboard.shell import run_command

#: What settings.json may hold, and of which type; JSON has lists for tuples.
SETTINGS: dict[str, type] = {
    field.name: list if isinstance(field.default, tuple) else type(field.default) for field in fields(RankingOptions)
} | {"published": str}


def main(argv: list[str] | None = None) -> int:
    """Check or write; exit status 0 where every byte agrees (or was written), 1 otherwise."""
    parser = argparse.ArgumentParser("python -m leaderboard.regenerate", description="Rebuild committed leaderboards.")
    parser.add_argument("results", type=Path, metavar="DIR", help="holds a folder a leaderboard")
    parser.add_argument("--write", action="store_true", help="write the files instead of comparing them")
    parser.set_defaults(command=_regenerate)
    return run_command("regenerate", lambda: parser.parse_args(argv))


def _regenerate(arguments: argparse.Namespace) -> int:
    folders = find_results(arguments.results)
    if arguments.write:
        for folder in folders:
            for name, text in rebuild(folder).items():
                write_text(folder / name, text)
    elif problems := [problem for folder in folders for problem in differences(folder)]:
        raise InputError(problems)
    for folder in folders:
        print(f"{folder}: {'written' if arguments.write else 'agrees with its cases.csv'}")
    return 0


def find_results(root: Path) -> list[Path]:
    """The folders of `root` that hold a cases.csv.

    Raises:
        InputError: there is none.
    """
    found = sorted(path.parent for path in root.glob("*/cases.csv"))
    if not found:
        raise InputError(f"{root}: holds no leaderboards: give a folder of folders with a cases.csv each")
    return found


def rebuild(folder: Path) -> dict[str, str]:
    """Text by file name, from a folder's cases.csv and settings.

    Raises:
        InputError: the table or the settings are at fault.
    """
    options, published = read_settings(folder / "settings.json")
    table = rank_methods(read_cases(folder / "cases.csv"), options)
    quoted = read_published(published) if published else None
    return {"leaderboard.csv": leaderboard_csv(table), "leaderboard.md": leaderboard_markdown(table, quoted)}


def differences(folder: Path) -> list[str]:
    """What of a folder is not what its cases.csv gives, byte for byte.

    Raises:
        InputError: the table or the settings are at fault.
    """
    remedy = "write it again with python -m leaderboard.regenerate --write"
    problems = []
    for name, text in rebuild(folder).items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: is missing: {remedy}")
        elif path.read_bytes() != text.encode():
            old = path.read_bytes().decode(errors="replace").split("\n")
            new = text.split("\n")
            agreeing = next((line for line, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None)
            line = min(len(old), len(new)) if agreeing is None else agreeing
            problems.append(f"{path}:{line + 1}: is not what its cases.csv gives: {remedy}")
    return problems


def read_settings(path: Path) -> tuple[RankingOptions, str | None]:
    """How a leaderboard was ranked, and the name of its quoted table; the defaults where there is no file.

    Raises:
        InputError: the file is no JSON object, or holds what is no setting.
    """
    if not path.exists():
        return RankingOptions(), None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON file: correct it") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: is no JSON object: write settings by name")
    problems = [
        f"{path}: {name} is no setting, or of the wrong type: choose {', '.join(SETTINGS)}"
        for name, value in settings.items()
        if type(value) is not SETTINGS.get(name)
    ]
    if problems:
        raise InputError(problems)
    published = settings.pop("published", None)
    try:
        return RankingOptions(**settings), published
    except InputError as error:
        raise InputError(f"{path}: {problem}" for problem in error.problems) from None


if __name__ == "__main__":
    sys.exit(main())
