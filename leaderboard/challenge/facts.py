"""submission.yaml: what a team says about its method, and when the organisers say that it was handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from leaderboard.challenge.times import read_time
from leaderboard.errors import InputError, cut, nearest
from leaderboard.io.archive import read_members
from leaderboard.io.plain_yaml import MOST_BYTES, load_yaml, parse_yaml
from leaderboard.io.tables import name_fault, shown
from leaderboard.scoring.submission import FACTS_FILE

_KEYS = ("method", "submitted", "facts")
_LONGEST_NAME, _LONGEST_FACT, _MOST_FACTS = 100, 500, 20


@dataclass(frozen=True)
class Facts:
    """What is known of a submission besides its masks."""

    method: str = ""  #: the method's name; empty: the team's name will do
    submitted: datetime | None = None  #: when it was handed in; None: what the files' times say
    facts: Mapping[str, str] = field(default_factory=dict)  #: whatever the team wants to say, by name


def read_facts(submission: Path) -> Facts:
    """The facts of a folder or a zip.

    They stand in a ``submission.yaml`` within it, in one beside it (for all of the team's submissions) or in a file
    named like it (``v2.yaml`` for ``v2.zip``); of a setting that stands in several, the last of these counts. The time
    counts only beside the submission, where organisers write: within, it is the team's own word.

    Raises:
        InputError: a file is at fault; every problem.
    """
    beside = [submission.with_name(FACTS_FILE), submission.with_name(f"{_stem(submission)}.yaml")]
    given: dict[str, Any] = {}
    problems: list[str] = []
    for where, load in ((submission / FACTS_FILE, _read_within), *((path, _read_file) for path in beside)):
        try:
            content = load(where)
        except (ValueError, OSError) as error:
            problems.append(f"{where}: {getattr(error, 'strerror', None) or error}: correct it")
            continue
        if content is None:
            continue
        found, faults = _checked(content)
        problems += [f"{where}: {fault}" for fault in faults]
        if load is _read_within:
            found.pop("submitted", None)
        given |= found
    if problems:
        raise InputError(problems)
    return Facts(**given)


def _stem(submission: Path) -> str:
    return submission.stem if submission.suffix.lower() == ".zip" else submission.name


def _read_file(path: Path) -> Any:
    """The content of a file; None if there is none or it is empty."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("is no regular file")
    return load_yaml(path) if path.exists() else None


def _read_within(path: Path) -> Any:
    """The content of a file of a folder or a zip, there also in a folder on top; None without one.

    Raises:
        ValueError: it cannot be read; but what is wrong with the zip itself is left to whoever reads its masks.
    """
    if path.parent.is_dir():
        return _read_file(path)
    try:
        found = read_members(path.parent, lambda name: name == FACTS_FILE, MOST_BYTES)
    except InputError:
        return None
    if len(found) > 1:
        raise ValueError("is there more than once")
    try:
        return parse_yaml(found[0].decode("utf-8")) if found else None
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None


def _checked(content: Any) -> tuple[dict[str, Any], list[str]]:
    """The settings of a file, and what is wrong with it."""
    if not isinstance(content, Mapping):
        return {}, ["is no list of settings: write lines such as method: NAME"]
    given: dict[str, Any] = {}
    faults = [
        f"the setting {shown(str(name))} is unknown: {nearest(str(name), _KEYS)}choose among {', '.join(_KEYS)}"
        for name in content
        if name not in _KEYS
    ]
    if "method" in content:
        method = content["method"]
        fault = "is no text: write the method's name" if not isinstance(method, str) else fault_of_name(method)
        given["method"] = method
        faults += [f"the method {shown(str(method))} {fault}"] if fault else []
    if "submitted" in content:
        try:
            given["submitted"] = read_time(content["submitted"])
        except ValueError as error:
            faults.append(f"submitted {error}")
    if "facts" in content:
        given["facts"], wrong = _checked_facts(content["facts"])
        faults += wrong
    return given, faults


def fault_of_name(name: str) -> str | None:
    """What is wrong with the name of a method, a fact, a team or a submission, and what to do."""
    if not name:
        return "is empty: write the method's name"
    if len(name) > _LONGEST_NAME:
        return f"has more than {_LONGEST_NAME} characters: shorten it"
    return name_fault(name)


def _checked_facts(content: Any) -> tuple[dict[str, str], list[str]]:
    """The team's own facts as text, and what is wrong with them."""
    if not isinstance(content, Mapping):
        return {}, ["facts is no list: write lines such as network: U-Net below it"]
    if len(content) > _MOST_FACTS:
        return {}, [f"facts has more than {_MOST_FACTS} lines: keep the most important"]
    found: dict[str, str] = {}
    faults = []
    for name, value in content.items():
        text = value if isinstance(value, str) else str(value)
        if not isinstance(value, str | int | float) or not text.isprintable() or len(text) > _LONGEST_FACT:
            faults.append(
                f"the fact {cut(str(name))} is not one line of at most {_LONGEST_FACT} characters: correct it"
            )
        elif fault := fault_of_name(str(name)):
            faults.append(f"the fact {shown(str(name))} {fault}")
        else:
            found[str(name)] = text
    return found, faults
