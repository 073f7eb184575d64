"""The exception for faulty input, and helpers for its messages."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from types import NoneType
from typing import Any

#: Comparing longer words takes long, and nothing is named so.
_MOST_COMPARED = 200
#: What `check_types` takes for a function that need not be given.
A_FUNCTION: Any = (Callable, NoneType)


class InputError(Exception):
    """The input is at fault; every problem names the file, the fault and the remedy.

    Commands print one line per problem on stderr and exit with status 1, without a traceback. A line break or another
    control character in a problem (a file may carry one in its name) is written as an escape.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        self.problems: list[str] = [printable(line) for line in lines]
        super().__init__("\n".join(self.problems))


class MachineError(InputError):
    """The machine is at fault and not what it was given: a full disk, too little memory, a file that breaks off.

    To a command it is an `InputError` like any other; but nothing may be concluded from it about what was handed in.
    """


#: What the system says when the machine is at fault.
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in ("EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EDQUOT", "EROFS", "ESTALE", "ENXIO", "ETIMEDOUT")
    if hasattr(errno, name)
}


def is_of_machine(error: BaseException) -> bool:
    """Whether an error of the system says that the machine is at fault."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of some names, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")


def cut(text: str, most: int = 60) -> str:
    """A name for a message, its end left out where it is long."""
    return text if len(text) <= most else f"{text[:most]}…"


def printable(text: str) -> str:
    """A text on one line, with control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def check_types(*given: tuple[str, object, type | tuple[type, ...], str]) -> None:
    """Refuse arguments of a wrong type, of what programs call. True and False are no numbers.

    Args:
        given: of each argument its name, its value, what it may be, and what to give, in words.

    Raises:
        InputError: with a line for each.
    """
    wrong = [
        f"{name}: is {described(value)}: give {words}"
        for name, value, kinds, words in given
        if not isinstance(value, kinds)
        or (isinstance(value, bool) and bool not in (kinds if isinstance(kinds, tuple) else (kinds,)))
    ]
    if wrong:
        raise InputError(wrong)


def described(value: object) -> str:
    """A value of a wrong type, for a message: a short one as it is, otherwise its type."""
    if value is None or isinstance(value, str | int | float):
        return cut(repr(value))
    return f"of the type {type(value).__name__}"


def unknown(name: str, value: object, known: Collection[str]) -> str:
    """The problem that an argument or an option has none of the values that it may have."""
    return f"{name}: {cut(str(value))!r} is unknown: {nearest(str(value), known)}choose {', '.join(known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean dice? `` if one of the known names is close to the given one, otherwise nothing."""
    close = closest(name, known)
    return f"did you mean {close}? " if close else ""


def closest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known name that is most like the given one, whatever their case; empty if none is.

    Args:
        name: what was given.
        known: the names that there are.
        likeness: the least, from 0 to 1 (`difflib.SequenceMatcher.ratio`).
    """
    names = {word.lower(): word for word in known}
    close = get_close_matches(cut(name.lower(), _MOST_COMPARED), names, n=1, cutoff=likeness)
    return names[close[0]] if close else ""
