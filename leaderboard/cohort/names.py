"""What a case is called: in a tree, in tables, and as the file of its mask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from leaderboard.io import ENDINGS

_WORDS = r"(?:case|training|test)_"
_FOLDER = re.compile(rf"{_WORDS}(?P<number>\d+)", re.IGNORECASE)
_IN_TABLE = re.compile(rf"(?:{_WORDS})?0*(?P<number>\d{{1,18}})", re.IGNORECASE)
_STEM = re.compile(r"case_0*(?P<number>\d+)", re.IGNORECASE)
# DOTALL: a line break in a name hides no file
_MASK = re.compile(rf"(?P<stem>.+?)(?:{'|'.join(map(re.escape, ENDINGS))})", re.IGNORECASE | re.DOTALL)
_SUBMITTED = re.compile(r"(?:SMIR|VSD)\..*\.(?P<id>\d+)", re.IGNORECASE | re.DOTALL)


def case_name(number: int | str) -> str:
    """The name of the case with that number in its partition: ``case_7``."""
    return f"case_{number}"


def number_of_folder(folder: str) -> int | None:
    """The number of the case that a folder of a tree holds (``case_7``, ``training_7``); None where it holds none."""
    match = _FOLDER.fullmatch(folder)
    return int(match["number"]) if match else None


def name_in_table(text: str) -> str:
    """The name of a case that a table writes as in a tree (``case_007``, ``training_7``) or as a number."""
    match = _IN_TABLE.fullmatch(text)
    return case_name(int(match["number"])) if match else text


def of_one_case(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """From names to the case that each means, without those names that mean several.

    Args:
        named: a name and the case that it means, in any order.
    """
    meant: dict[str, set[str]] = {}
    for name, case in named:
        meant.setdefault(name, set()).add(case)
    return {name: next(iter(cases)) for name, cases in meant.items() if len(cases) == 1}


def case_finder(names: Iterable[str]) -> Callable[[str], str | None]:
    """From what a table calls a case to the name of that case; None where it names none, or may mean several.

    Args:
        names: of all cases. One that is written exactly so comes first; then numbers and masks' names are understood.
    """
    exact = set(names)
    alike: dict[str, list[str]] = {}
    for name in exact:
        alike.setdefault(name_in_table(name), []).append(name)

    def find(text: str) -> str | None:
        if text in exact:
            return text
        found = alike.get(name_in_table(mask_stem(text)), [])
        return found[0] if len(found) == 1 else None

    return find


def is_mask_file(name: str) -> bool:
    """Whether a file's name has an ending that is read."""
    return bool(_MASK.fullmatch(name))


def bare_stem(name: str) -> str:
    """A mask file's name without its ending."""
    match = _MASK.fullmatch(name)
    return match["stem"] if match else name


def mask_stem(name: str) -> str:
    """A mask file's name without its ending; of ``case_007.nii`` the natural form ``case_7``."""
    bare = bare_stem(name)
    case = _STEM.fullmatch(bare)
    return case_name(case["number"]) if case else bare


def submitted_id(stem: str) -> str | None:
    """The image id in the name of a file as the challenge takes it; None where it is named otherwise."""
    match = _SUBMITTED.fullmatch(stem)
    return match["id"] if match else None


def prediction_file(case: str) -> str:
    """File name of the prediction of a case of that name."""
    return f"{case}.nii.gz"


def submitted_file(free_name: str, image_id: int) -> str:
    """File name of a prediction as the challenge takes it, with the id of the image of kind `Case.grid`."""
    return f"SMIR.{free_name}.{image_id}.nii"


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key under which ``case_2`` comes before ``case_10``."""
    parts = re.split(r"(\d+)", name)
    # Python converts no number of more than 4300 digits, and a name in a strange archive may have them
    return tuple((int(part), "") if part.isdecimal() and len(part) < 1000 else (-1, part) for part in parts)
