"""leaderboard.json: how a leaderboard was made, written beside it; or what its leaderboard.csv tells about that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from leaderboard.errors import InputError, cut
from leaderboard.io.tables import shortened
from leaderboard.presets import PRESETS
from leaderboard.ranking.options import DEFAULTS, STRATA, RankingOptions
from leaderboard.report.published import PUBLISHED

#: Keys that leaderboard.json may have besides the fields of `RankingOptions`, with their types.
_FURTHER: dict[str, type] = {"published": str, "by": str, "latex": bool, "version": str, "notes": dict}
#: JSON has lists for tuples.
_TYPES = {
    option.name: list if isinstance(option.default, tuple) else type(option.default)
    for option in fields(RankingOptions)
} | _FURTHER


@dataclass(frozen=True)
class Origin:
    """How a leaderboard was made."""

    options: RankingOptions = DEFAULTS  #: how it was ranked
    published: str = ""  #: the name of the quoted table below it; empty: none
    by: str = ""  #: the strata within which it was ranked as well; empty: none
    latex: bool = False  #: whether it has a leaderboard.tex
    version: str = ""  #: of the program that wrote it; empty: unknown
    #: further facts that were known when it was ranked: cohort, folds, versions
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The settings of the ranking in a line: ``scheme dice, policy isles2018, 10000 resamples, seed 0``."""
        options = self.options
        drawn = f"{options.resamples} resamples of the {options.unit}s, seed {options.seed}"
        drawn += ", simultaneous sets" if options.simultaneous else ""
        rules = f"preset {options.preset}, " if options.preset else ""
        drawn = drawn if options.resamples else "no resamples"
        return f"{rules}scheme {options.scheme}, policy {options.policy}, {drawn}"


def origin_json(origin: Origin) -> str:
    """The text of leaderboard.json; the same origin gives the same text."""
    options = {option.name: getattr(origin.options, option.name) for option in fields(RankingOptions)}
    further = {"published": origin.published, "by": origin.by, "latex": origin.latex, "version": origin.version}
    content = options | {"metrics": list(origin.options.metrics)} | further | {"notes": dict(origin.notes)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_origin(path: Path) -> Origin:
    """The content of a leaderboard.json.

    Raises:
        InputError: it is not a JSON object, or holds something that is not a setting.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{path}: is not a JSON file: correct it") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not a JSON object: write settings by name")
    problems = [
        f"{path}: {cut(name)} is not a setting, or of the wrong type: choose {', '.join(_TYPES)}"
        for name, value in content.items()
        if type(value) is not _TYPES.get(name)
    ]
    problems += [
        f"{path}: {name} must be text: correct it"
        for name in ("metrics", "notes")
        if not problems and not _is_text(content.get(name, []))
    ]
    if not problems:
        problems = [
            f"{path}: {name} is {cut(content[name])}: choose {', '.join(known)}, or leave it out"
            for name, known in (("published", PUBLISHED), ("by", STRATA))
            if content.get(name) and content[name] not in known
        ]
    if problems:
        raise InputError(shortened(path, problems))
    further = {name: content.pop(name) for name in _FURTHER if name in content}
    try:
        return Origin(RankingOptions(**content), **further)
    except InputError as error:
        raise InputError(f"{path}: {problem}" for problem in error.problems) from None


def origin_of_rows(rows: Sequence[Mapping[Any, Any]]) -> Origin:
    """How the rows of a leaderboard.csv were ranked, as far as they tell; otherwise the defaults."""
    first = {name: str(value) for name, value in rows[0].items()} if rows else {}
    chosen: dict[str, Any] = {name: first[name] for name in ("scheme", "policy", "unit") if first.get(name)}
    chosen |= {name: int(first[name]) for name in ("resamples", "seed") if first.get(name, "").isdecimal()}
    if first.get("scheme") and "resamples" not in first:
        chosen["resamples"] = 0  # without resamples there are no such columns
    chosen["simultaneous"] = first.get("sets") == "simultaneous"
    if first.get("metrics"):
        chosen["metrics"] = tuple(first["metrics"].split(";"))
    if first.get("preset") in PRESETS:
        chosen |= {"preset": first["preset"], "metrics": PRESETS[first["preset"]].metrics}
    try:
        return Origin(RankingOptions(**chosen))
    except InputError:  # unknown names: the comparison will show the difference
        return Origin()


def own_version() -> str:
    """The version of this package; empty if it is not installed."""
    try:
        return version("isles-benchmark")
    except PackageNotFoundError:
        return ""


def _is_text(values: Mapping[str, Any] | Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in (values.values() if isinstance(values, Mapping) else values))
