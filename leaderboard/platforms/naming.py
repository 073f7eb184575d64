"""Which case a file's name means on a platform, where names are longer than those of the references."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from leaderboard.cohort.case import Case
from leaderboard.cohort.names import mask_stem, of_one_case
from leaderboard.errors import InputError
from leaderboard.scoring.submission import names_of_cases

#: The subject's entity of BIDS, as in ``sub-strokecase0001_ses-0001_dwi``.
_SUBJECT = re.compile(r"(?:^|[^A-Za-z0-9])(sub-[A-Za-z0-9]+)")
#: Endings of images that platforms name without reading them here.
_OTHER_ENDINGS = re.compile(r"\.(?:tiff?|mhd|json)$", re.IGNORECASE)
#: A pattern for a name need not be longer.
_LONGEST_PATTERN = 200


def case_of_name(cases: Sequence[Case], pattern: str = "") -> Callable[[str], str | None]:
    """From the name of a file to the case that it means; None where it means none, or may mean several.

    A name means the case that it, without its ending, is the name of, or the name of its reference or of an image of
    it; else the only case of the same subject (``sub-...``).

    Args:
        cases: the cases.
        pattern: a regular expression that is searched in the name; its first group, or all that it finds, is then the
            name. Empty: the whole name.

    Raises:
        InputError: the pattern is none.
    """
    try:
        search = re.compile(pattern[: _LONGEST_PATTERN + 1]).search if len(pattern) <= _LONGEST_PATTERN else None
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"--case-pattern: {pattern!r} is no regular expression ({error}): correct it") from None
    if search is None:
        raise InputError(f"--case-pattern: is longer than {_LONGEST_PATTERN} characters: shorten it")
    own, aliases = names_of_cases(cases)
    subjects = of_one_case((subject, case.name) for case in cases for subject in _subjects(case))

    def find(name: str) -> str | None:
        if pattern:
            found = search(name)
            if not found:
                return None
            name = next((group for group in found.groups() if group), found[0])
        stem = mask_stem(_OTHER_ENDINGS.sub("", name))
        subject = _SUBJECT.search(stem)
        return own.get(stem) or aliases.get(stem) or (subjects.get(subject[1].lower()) if subject else None)

    return find


def _subjects(case: Case) -> set[str]:
    """The subjects in the names of a case and of its reference."""
    names = (case.name, *([case.reference.name] if case.reference else []))
    return {found[1].lower() for name in names if (found := _SUBJECT.search(name))}
