"""The parser of both programs: what is mistyped gets the nearest name, older words go on working, all in one line.

Exit status 2 is for a command line that cannot be understood: no such command or option, something missing, or options
that do not go together. A value at fault, whichever option has it, is an `InputError` like any faulty input: status 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from leaderboard.errors import InputError, cut, nearest, printable, unknown

#: What argparse takes for an option: neither a number below 0, nor with a space.
_LIKE_OPTION = re.compile(r"-(?![\d.])\S+")
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


class Parser(argparse.ArgumentParser):
    """A command, or a program of commands.

    Attributes:
        older: older words for options: they are taken for what they became, and help does not show them.
        first: options that may name what otherwise stands without one, and comes first: ``--cohort DIR`` for ``DIR``.
        last: likewise what comes last.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.older: dict[str, str] = {}
        self.first: tuple[str, ...] = ()
        self.last: tuple[str, ...] = ()
        self._commands: Mapping[str, Any] | None = None
        super().__init__(*arguments, **settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """As argparse's; what is wrong with a value is an `InputError`."""
        choices = settings.pop("choices", None)
        if choices is not None:
            settings.setdefault("metavar", f"{{{','.join(choices)}}}")
        if choices is not None or "type" in settings:
            name = names[0] if names[0].startswith("-") else settings.get("metavar", names[0])
            settings["type"] = _checked(name, settings.get("type", str), choices)
        return super().add_argument(*names, **settings)

    def add_subparsers(self, **settings: Any) -> Any:
        """As argparse's."""
        action = super().add_subparsers(**settings)
        self._commands = action.choices
        return action

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, but a command knows all its arguments.

        Raises:
            InputError: a value is at fault.
            SystemExit: of status 2, for wrong usage.
        """
        words = list(sys.argv[1:] if args is None else args)
        if self._commands is not None:
            self._check_command(words, self._commands)
            return super().parse_known_args(words, namespace)
        words = self._placed(self._renamed(words))
        self._check_options(words)
        found, surplus = super().parse_known_args(words, namespace)
        if surplus:
            self.error(f"{' '.join(surplus)}: is one argument too many")
        return found, surplus

    def error(self, message: str) -> NoReturn:
        """One line on stderr, and exit status 2."""
        program, _, command = self.prog.partition(" ")
        message = message.replace("ignored explicit argument", "takes no value, and was given")
        parts = [program, command, message]
        self.exit(2, f"{printable(': '.join(filter(None, parts)))} ({self.prog} --help shows the usage)\n")

    def _check_command(self, words: Sequence[str], commands: Iterable[str]) -> None:
        """Refuse a first word that is no command."""
        word = next(iter(words), "")
        if not word:
            self.error("which command?")
        if word.startswith("-"):
            self._check_options(words[:1])
        elif word not in commands:
            self.error(f"{word}: no such command: {nearest(word, commands)}".rstrip(": "))

    def _check_options(self, words: Iterable[str]) -> None:
        """Refuse an option that is none, before argparse complains of another that is missing for this reason."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if not _LIKE_OPTION.fullmatch(name) or name in self._option_string_actions:
                continue
            if not (name.startswith("--") and any(option.startswith(name) for option in known)):
                close = nearest(name, [*known, *self.older])
                for old, new in self.older.items():
                    close = close.replace(f" {old}?", f" {new}?")
                self.error(f"{name}: no such option: {close}".rstrip(": "))

    def _renamed(self, words: Iterable[str]) -> list[str]:
        """The words with options as they are called today."""
        parts = [word.partition("=") for word in words]
        return [self.older.get(name, name) + equals + value for name, equals, value in parts]

    def _placed(self, words: Sequence[str]) -> list[str]:
        """The words with what `first` and `last` name put where it stands without an option."""
        first, last, rest = list[str](), list[str](), list[str]()
        remaining = iter(words)
        for word in remaining:
            name, equals, value = word.partition("=")
            place = first if name in self.first else last if name in self.last else rest
            if place is rest:
                rest.append(word)
            elif (given := value if equals else next(remaining, None)) is not None:
                place.append(given)
            else:
                self.error(f"argument {name}: expected one argument")
        return first + rest + last


def _checked(name: str, kind: Callable[[str], Any], choices: Collection[str] | None) -> Callable[[str], Any]:
    """A type of argparse's that says what is wrong with a value as an `InputError`."""

    def value_of(text: str) -> Any:
        if kind is Path and not text:  # would be the working directory
            raise InputError(f"{name}: is empty: give a path")
        try:
            value = kind(text)
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{name}: {error}") from None
        except (TypeError, ValueError):
            raise InputError(f"{name}: {cut(text)!r} is not {_KINDS.get(kind, 'valid')}: correct it") from None
        if choices is not None and value not in choices:
            raise InputError(unknown(name, text, choices))
        return value

    return value_of
