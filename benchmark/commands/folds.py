"""``benchmark folds``: a cohort's folds, made or read, as our CSV, nnU-Net's splits or a datalist of MONAI."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.cohort.fold_json import NNUNET_FILE, datalist_of, is_json, read_folds, splits_of
from benchmark.cohort.folds import Folds, centre_folds, folds_within, make_folds, measure_cohort, write_fold_file
from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io.images import write_text


def write_folds(
    cohort: Cohort,
    out: Path,
    *,
    source: Path | None = None,
    number: int = 5,
    seed: int = 0,
    by_centre: bool = False,
    allow_leaky: bool = False,
) -> Folds:
    """Write the folds of a cohort.

    Args:
        cohort: with references.
        out: new; ``splits_final.json`` is written as nnU-Net's, another ``.json`` as a datalist of MONAI, ``.csv`` as
            ours.
        source: where the folds are read; None makes them.
        number: how many are made.
        seed: as a suite's.
        by_centre: make each centre a fold.
        allow_leaky: accept folds that split a patient.

    Returns:
        The folds.

    Raises:
        InputError: they cannot be read, made or written, or `out` is there already.
    """
    if out.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"--out {out}: is neither .csv nor .json: name it so")
    if out.exists():
        raise InputError(f"--out {out}: is there already: name a new file, or remove it first")
    if source:
        folds = folds_within(read_folds(source, cohort, allow_leaky=allow_leaky), cohort)
    else:
        measured = measure_cohort(cohort)
        folds = centre_folds(measured) if by_centre else make_folds(measured, number, seed)
    if is_json(out):
        content = splits_of(folds) if out.name == NNUNET_FILE else datalist_of(folds, cohort, out.parent)
        write_text(out, json.dumps(content, indent=1) + "\n")
    else:
        write_fold_file(out, folds)
    return folds
