"""What submissions are scored against."""

from __future__ import annotations

from leaderboard.challenge.settings import FILE, Challenge
from leaderboard.challenge.verdicts import Against
from leaderboard.cohort.banner import is_synthetic
from leaderboard.errors import InputError, listed
from leaderboard.scoring.references import find_references, mixed_patients, partitions_in, with_patients


def read_references(challenge: Challenge) -> tuple[Against, list[str]]:
    """The cases of a challenge, and what the organisers should know of them.

    Raises:
        InputError: there are none, one has no reference, or it must be said which partition is meant.
    """
    root = challenge.references
    if not root.is_dir():
        raise InputError(f"{root}: is no folder: name the references in {challenge.folder / FILE}")
    if challenge.partition is None:
        found = partitions_in(root, challenge.format)
        if len(found) > 1:
            raise InputError(
                f"{root}: holds {' and '.join(found)} cases: add the line "
                f"{' or '.join(f'partition: {name}' for name in found)} to {challenge.folder / FILE}"
            )
    cases = find_references(root, root, challenge.partition, challenge.format, challenge.grid)
    if lacking := [case.name for case in cases if not case.reference]:
        raise InputError(f"{root}: holds no reference of {listed(lacking, 10)}: score cases that have one")
    if challenge.patients:
        cases, notes = with_patients(cases, challenge.patients)
    else:
        notes = mixed_patients(root, cases)
    return Against(challenge, tuple(cases), is_synthetic(root)), notes
