"""Folds as other programs keep them: nnU-Net's ``splits_final.json`` and MONAI's datalist.

nnU-Net's is a list with the cases that each fold trains on and validates (its documentation, "manual_data_splits").
MONAI's is ``{"training": [{"image": ..., "label": ..., "fold": 0}, ...]}``, as its Auto3DSeg reads it: ``fold`` is the
one that an item is validated in. Neither knows patients: these are the cohort's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.cohort.folds import Folds, read_fold_file, require_whole_patients
from leaderboard.cohort.formats import Cohort
from leaderboard.cohort.names import mask_stem, of_one_case
from leaderboard.errors import InputError, listed

#: What nnU-Net calls its file; a JSON file of another name is a datalist.
NNUNET_FILE = "splits_final.json"


def is_json(path: Path) -> bool:
    """Whether a file of folds is another program's."""
    return path.suffix.lower() == ".json"


def read_folds(path: Path, cohort: Cohort, *, allow_leaky: bool = False) -> Folds:
    """Read a file of folds of a cohort, ours or another program's.

    Raises:
        InputError: see `read_fold_file` and `read_json_folds`.
    """
    if is_json(path):
        return read_json_folds(path, cohort, allow_leaky=allow_leaky)
    return read_fold_file(path, allow_leaky=allow_leaky)


def read_json_folds(path: Path, cohort: Cohort, *, allow_leaky: bool = False) -> Folds:
    """Read either file; what it holds tells which it is.

    Args:
        path: the file.
        cohort: whose cases it names, by their names or by those of their files; names that it has not are kept.
        allow_leaky: accept folds that split a patient.

    Raises:
        InputError: it cannot be read or is neither, a case is validated twice or never, or a patient is split.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no JSON"
        raise InputError(f"{path}: cannot be read ({reason}): check the file") from None
    fold_of = _of_splits(path, content) if isinstance(content, list) else _of_datalist(path, content)
    known = _names(cohort)
    named: dict[str, int] = {}
    for names, fold in fold_of:
        case = next((known[name] for name in names if name in known), names[0])
        if case in named:
            raise InputError(f"{path}: validates {case} twice: keep it in one fold")
        named[case] = fold
    if (present := set(named.values())) != set(range(len(present))) or len(present) < 2:
        raise InputError(f"{path}: has the folds {', '.join(map(str, sorted(present))) or 'none'}: number two or more "
                         "from 0 on without a gap")  # fmt: skip
    patients = {case.name: case.patient for case in cohort.cases}
    folds = Folds(named, {case: patients.get(case) or case for case in named}, source=str(path))
    if not allow_leaky:
        require_whole_patients(folds)
    return folds


def splits_of(folds: Folds) -> list[dict[str, list[str]]]:
    """The content of nnU-Net's file, fold by fold."""
    filled = sorted(set(folds.fold_of.values()))
    return [{"train": list(folds.training(fold)), "val": list(folds.validation(fold))} for fold in filled]


def datalist_of(folds: Folds, cohort: Cohort, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The content of MONAI's file: images in the order of the cohort, paths relative to a folder.

    Args:
        folds: of the cohort's cases.
        cohort: with references.
        folder: MONAI's ``dataroot``, where the file lies.
    """

    def relative(file: Path) -> str:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()

    items = [
        {
            "image": [relative(case.images[name]) for name in cohort.channels],
            "label": relative(case.reference),
            "fold": folds.fold_of[case.name],
        }
        for case in cohort.cases
        if case.reference is not None
    ]
    return {"training": items}


def _of_splits(path: Path, content: Sequence[Any]) -> list[tuple[list[str], int]]:
    """Names and fold of each case of nnU-Net's file."""
    folds = [(_texts(fold, "train"), _texts(fold, "val")) for fold in content]
    everything = {name for train, val in folds for name in (*train, *val)}
    for place, (train, val) in enumerate(folds):
        if not val or set(train) != everything - set(val):
            raise InputError(
                f"{path}: fold {place} does not train on all cases but those that it validates (train and val): "
                "folds of a cross-validation are needed"
            )
    if never := sorted(everything - {name for _, val in folds for name in val}):
        raise InputError(f"{path}: validates {listed(never, 10)} in no fold: add them to a fold's val")
    return [([name], place) for place, (_, val) in enumerate(folds) for name in val]


def _texts(fold: Any, key: str) -> list[str]:
    value = fold.get(key) if isinstance(fold, Mapping) else None
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _of_datalist(path: Path, content: Any) -> list[tuple[list[str], int]]:
    """Possible names and fold of each case of MONAI's file."""
    items = content.get("training") if isinstance(content, Mapping) else None
    if not isinstance(items, list) or not items:
        raise InputError(f"{path}: is neither nnU-Net's {NNUNET_FILE} nor a datalist of MONAI: give one of them")
    found = []
    for place, item in enumerate(items):
        fold = item.get("fold") if isinstance(item, Mapping) else None
        files = [item.get("label"), item.get("image")] if isinstance(item, Mapping) else []
        firsts = [file[0] if isinstance(file, list) and file else file for file in files]
        stems = [mask_stem(Path(file).name) for file in firsts if isinstance(file, str)]
        if not isinstance(fold, int) or isinstance(fold, bool) or not stems:
            raise InputError(f"{path}: item {place} of training needs a fold (a number) and a label or image: add them")
        found.append(([*stems, *(stem.removesuffix("_0000") for stem in stems)], fold))
    return found


def _names(cohort: Cohort) -> dict[str, str]:
    """The case that each name means: its own, or that of a file of that one case."""
    files = (
        (mask_stem(file.name), case.name)
        for case in cohort.cases
        for file in (case.reference, *case.images.values())
        if file
    )
    return of_one_case(files) | {case.name: case.name for case in cohort.cases}
