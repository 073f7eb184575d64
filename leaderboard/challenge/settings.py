"""challenge.yaml: against what is scored, by which rules, until when, and which submission of a team counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from leaderboard.challenge.times import read_time
from leaderboard.cohort.case import PARTITIONS, Partition
from leaderboard.cohort.formats import FORMATS
from leaderboard.errors import InputError, cut, nearest
from leaderboard.io import GRID_RULES, GridRule
from leaderboard.io.plain_yaml import load_yaml
from leaderboard.io.tables import shown
from leaderboard.presets import PRESETS
from leaderboard.ranking.options import DEFAULTS, RankingOptions
from leaderboard.ranking.schemes import SCHEMES

FILE = "challenge.yaml"
#: Which of a team's submissions counts.
COUNTS = ("latest", "best")
_LONGEST_TITLE = 200


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A challenge, as its challenge.yaml has it."""

    folder: Path  #: that holds challenge.yaml and ``submissions``
    title: str
    references: Path  #: a cohort tree, or a folder of reference masks
    options: RankingOptions = DEFAULTS  #: how it is ranked
    counts: str = "latest"  #: one of `COUNTS`
    deadline: datetime | None = None  #: what was handed in later does not count; None: there is none
    complete: bool = False  #: whether a submission that leaves a case out is refused
    grid: GridRule = "auto"  #: how the grids of predictions and references are compared
    partition: Partition | None = None  #: of a cohort that has both
    format: str | None = None  #: of the cohort; None recognises it
    patients: Path | None = None  #: a table of the cases' patients; None: the cohort's own

    @property
    def needs_probabilities(self) -> bool:
        """Whether its preset ranks by probability maps, too."""
        return bool(self.options.preset) and PRESETS[self.options.preset].needs_probabilities


def read_challenge(folder: Path) -> Challenge:
    """The challenge of a folder.

    Raises:
        InputError: there is no such folder or challenge.yaml, or settings are at fault; every one of them.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder: give the folder that holds {FILE} and submissions")
    try:
        content = load_yaml(path)
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no {FILE}: write one with at least the line references: FOLDER") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}: correct it") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: is no list of settings: write lines such as references: FOLDER")
    known = {field.name for field in dataclasses.fields(Challenge)} - {"folder", "options"} | set(_RANKING)
    problems = [
        f"the setting {cut(str(name))} is unknown: {nearest(str(name), known)}choose among {', '.join(sorted(known))}"
        for name in content
        if name not in known
    ]
    settings: dict[str, Any] = {"title": folder.resolve().name}
    for name, (valid, what) in _VALID.items():
        if name not in content:
            continue
        if not valid(content[name]):
            problems.append(f"{name} is {shown(str(content[name]))}: it must be {what}")
        elif name not in _RANKING:
            settings[name] = content[name]
    if "deadline" in content:
        try:
            settings["deadline"] = read_time(content["deadline"], end_of_day=True)
        except ValueError as error:
            problems.append(f"deadline {error}")
    for name in ("references", "patients"):
        if name in settings:
            settings[name] = folder / settings[name]
    if "references" not in content:
        problems.append("references is missing: name the cohort or the folder of the reference masks")
    try:
        settings["options"] = _options(content)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(f"{path}: {problem}" for problem in problems)
    return Challenge(folder=folder, **settings)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) == len(value) <= _LONGEST_TITLE


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


#: What each setting may be, and that in words.
_VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": (_is_line, "one line of text"),
    "references": (_is_text, "a path"),
    "counts": (lambda value: value in COUNTS, " or ".join(COUNTS)),
    "complete": (lambda value: isinstance(value, bool), "true or false"),
    "grid": (lambda value: value in GRID_RULES, " or ".join(GRID_RULES)),
    "partition": (lambda value: value in PARTITIONS, " or ".join(PARTITIONS)),
    "format": (lambda value: isinstance(value, str) and value in FORMATS, f"one of {', '.join(FORMATS)}"),
    "patients": (_is_text, "a path"),
    "preset": (lambda value: isinstance(value, str) and value in PRESETS, f"one of {', '.join(PRESETS)}"),
    "scheme": (_is_text, "a name"),
    "policy": (_is_text, "a name"),
    "metrics": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of names"),
    "unit": (_is_text, "patient or case"),
    "resamples": (_is_count, "a whole number of at least 0"),
    "seed": (_is_count, "a whole number of at least 0"),
}
_RANKING = ("preset", "scheme", "policy", "metrics", "unit", "resamples", "seed")


def _options(content: Mapping[Any, Any]) -> RankingOptions:
    """How it is ranked; what is of a wrong type is left to `_VALID`.

    Raises:
        InputError: settings are unknown or do not go together.
    """
    chosen = {name: content[name] for name in _RANKING if name in content and _VALID[name][0](content[name])}
    preset = chosen.pop("preset", None)
    if preset is None:
        options = RankingOptions(**chosen)
        own = SCHEMES[options.scheme].metric
        if own and options.metrics and list(options.metrics) != [own]:
            decides = f"scheme {options.scheme}" if "scheme" in chosen else f"the default scheme, {options.scheme},"
            others = ", ".join(name for name, scheme in SCHEMES.items() if not scheme.metric)
            raise InputError(
                f"metrics would be ignored: {decides} ranks by {own} alone; leave metrics out, or choose a scheme over "
                f"several metrics ({others})"
            )
        return options
    if clash := [name for name in ("scheme", "policy", "metrics") if name in chosen]:
        raise InputError(f"{', '.join(clash)} cannot stand beside preset, which has its own: leave one of them out")
    return RankingOptions.of_preset(preset, **chosen)
