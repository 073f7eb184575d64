"""Does a scoring program do what it should? Submissions whose results are known, evaluated as the platform would."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from leaderboard.cohort.case import Case
from leaderboard.cohort.names import prediction_file
from leaderboard.errors import InputError, listed
from leaderboard.io.images import read_volume, write_mask
from leaderboard.platforms.evaluation import Evaluation, evaluate
from leaderboard.platforms.interface import Platform, Settings
from leaderboard.platforms.writing import write_submission
from leaderboard.presets import PRESETS


def selftest(platform: Platform, settings: Settings, cases: Sequence[Case]) -> Iterator[str]:
    """Evaluate the references, empty masks, all references but one, and nothing.

    Args:
        platform: the platform.
        settings: how submissions are evaluated; what they say of a submission is not used.
        cases: those that the settings' references hold.

    Yields:
        A line for each submission: what it was, and what came of it.

    Raises:
        InputError: with a line for each that came out otherwise than it must.
    """
    rules = PRESETS.get(settings.preset)
    references = {case.name: case.reference for case in cases if case.reference}
    faults = []
    with tempfile.TemporaryDirectory(prefix="leaderboard-", ignore_cleanup_errors=True) as folder:
        submissions: dict[str, Mapping[str, Path]] = {
            "the references": references,
            "empty masks": _empty(references, Path(folder) / "empty"),
            "all references but one": dict(list(references.items())[1:]),
            "nothing": {},
        }
        for number, (words, masks) in enumerate(submissions.items()):
            place = Path(folder) / f"submission_{number}"
            with_maps = bool(rules and rules.needs_probabilities)
            given = write_submission(platform.name, place, masks, settings, with_maps=with_maps)
            found: Evaluation | InputError
            try:
                found = evaluate(platform, replace(settings, submission=given))
            except InputError as error:
                found = error
            yield f"{words}: {_outcome(found)}"
            refused = not masks or (settings.complete and len(masks) < len(references))
            if fault := _fault(found, len(references) - len(masks), refused=refused, perfect=masks is references):
                faults.append(f"the self-test with {words}: {fault}")
    if faults:
        raise InputError(faults)


def _empty(references: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """A mask without lesion for each reference."""
    folder.mkdir()
    written = {}
    for case, reference in references.items():
        volume = read_volume(reference)
        written[case] = folder / prediction_file(case)
        write_mask(written[case], np.zeros(volume.data.shape[:3], np.uint8), volume.header)
    return written


def _outcome(found: Evaluation | InputError) -> str:
    """What came of a submission, in words."""
    if isinstance(found, InputError):
        return f"refused: {found}"
    means = ", ".join(f"{name} {found.summary.metrics[name].mean:g}" for name in found.summary.ranked)
    return f"accepted, {found.summary.statuses['missing']} missing: {means}"


def _fault(found: Evaluation | InputError, lacking: int, *, refused: bool, perfect: bool) -> str:
    """What is wrong with that; empty where nothing is."""
    if isinstance(found, InputError) or refused:
        return "" if isinstance(found, InputError) and refused else _outcome(found)
    if found.summary.statuses["missing"] != lacking:
        return f"{found.summary.statuses['missing']} cases count as missing where {lacking} should"
    best = {name: 1 if higher else 0 for name, higher in found.summary.ranked.items()}
    worse = [name for name, value in best.items() if found.summary.metrics[name].mean != value]
    if perfect and worse:
        return f"{listed(worse)} not at its best: look at the references, and at --grid"
    return ""
