"""Faults of methods that users wrote: one line, with the user's file and line.

Somebody who writes a method of their own makes mistakes in it, and a traceback through this package, Lightning and
torch hides where. The line that is theirs is found here, and what was handed to it is said beside it.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaderboard
from leaderboard.errors import InputError

_OURS = (Path(__file__).parents[1], Path(leaderboard.__file__).parent)
_SHARED = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
#: Installed packages that call a user's code, or that it calls: no fault is theirs.
_MACHINERY = {
    "torch", "pytorch_lightning", "lightning_fabric", "lightning_utilities", "torchmetrics", "torchio", "numpy",
    "jsonargparse", "yaml",
}  # fmt: skip
#: The most characters of an exception's own words.
_LONGEST = 300


def told(error: BaseException) -> str:
    """What went wrong in one line: ``<file>:<line>, in <function>: <kind>: <message> (<notes>)``.

    Without the place, where no file of the user's had a part in it.
    """
    words = " ".join(str(error).split())
    words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."
    if isinstance(error, SyntaxError):
        words = f"{error.msg}: correct it"
    elif isinstance(error, ModuleNotFoundError):
        words += ": install it, or correct the import"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    place = place_of(error)
    return f"{place}{': ' if place else ''}{type(error).__name__}{': ' if words else ''}{words}{notes}"


def place_of(error: BaseException) -> str:
    """Where an exception left the user's own code: ``<file>:<line>, in <function>``; empty where it never was there.

    The user's is what lies neither in this package nor where Python and packages are installed; after that, what is
    installed and none of the machinery around a method.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_near(error.filename)}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    for theirs in (_is_users, _is_foreign):
        for frame in reversed(frames):
            if theirs(Path(frame.filename)):
                function = "" if frame.name == "<module>" else f", in {frame.name}"
                return f"{_near(frame.filename)}:{frame.lineno}{function}"
    return ""


def definition_of(what: Any) -> str:
    """Where a class or a function is defined, ``<file>:<line>``; its name where that has no file."""
    with contextlib.suppress(TypeError, OSError):
        what = inspect.unwrap(getattr(what, "__func__", what))
        return f"{_near(inspect.getsourcefile(what) or '')}:{inspect.getsourcelines(what)[1]}"
    return str(getattr(what, "__qualname__", type(what).__qualname__))


@contextlib.contextmanager
def noted(note: Callable[[], str]) -> Iterator[None]:
    """An exception that leaves this context carries a note; `told` says it."""
    try:
        yield
    except InputError:  # says all there is to say
        raise
    except Exception as error:
        error.add_note(note())
        raise


@contextlib.contextmanager
def exits_told() -> Iterator[None]:
    """A user's own code that ends the process (``sys.exit``) within this context fails like any other fault of it.

    Signals end the process by the same exception, raised by this package or by Lightning; those pass.

    Raises:
        InputError: the user's code has ended the process, with its file and line.
    """
    try:
        yield
    except SystemExit as error:
        frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
        # exit() is a function of Python's own, and W&B puts one of its own in the place of sys.exit
        ours = [file for file in frames if not _is_standard(file) and file.name != "exit_hooks.py"]
        if ours and _is_users(ours[-1]):
            raise InputError(
                f"{place_of(error)}: ends the process (sys.exit): raise an exception in its place"
            ) from None
        raise


def find_named(class_path: str) -> Any:
    """What a class path names.

    Raises:
        InputError: there is no such module, it holds no such name, or it fails when it is imported.
    """
    module, _, name = class_path.rpartition(".")
    try:
        with exits_told():
            found = importlib.import_module(module) if module else None
    except InputError as error:
        raise InputError(f"{class_path}: cannot be imported: {error}") from None
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"{class_path}: there is no module {error.name}: put the folder that it lies in on PYTHONPATH, or "
                "install it"
            ) from None
        raise InputError(f"{class_path}: cannot be imported: {told(error)}") from None
    except Exception as error:  # a user's module may do what it likes
        raise InputError(f"{class_path}: cannot be imported: {told(error)}") from None
    if not hasattr(found, name):
        raise InputError(f"{class_path}: {module or 'a name without a module'} has no {name}: correct the class path")
    return getattr(found, name)


def unlike(called: Callable[..., Any], *arguments: str) -> str:
    """What is wrong with the signature of something that will be called with these arguments; empty if nothing is."""
    try:
        signature = inspect.signature(called)
        signature.bind(*arguments)
    except TypeError:
        name, takes = getattr(called, "__qualname__", called), ", ".join(signature.parameters)
        return (
            f"{definition_of(called)}: {name} is called with ({', '.join(arguments)}), and takes ({takes}): correct it"
        )
    except ValueError:  # something built in, which has no signature
        pass
    return ""


def _is_users(file: Path) -> bool:
    return not any(file.is_relative_to(folder) for folder in (*_OURS, *_SHARED))


def _is_standard(file: Path) -> bool:
    """Whether a file belongs to Python itself, frozen modules included."""
    standard = Path(sysconfig.get_path("stdlib"))
    return not file.is_file() or (
        file.is_relative_to(standard) and not {"site-packages", "dist-packages"} & set(file.parts)
    )


def _is_foreign(file: Path) -> bool:
    """Whether a file is of an installed package that is no machinery."""
    if any(file.is_relative_to(folder) for folder in _OURS):
        return False
    packages = [folder for folder in _SHARED if folder.name in ("site-packages", "dist-packages")]
    return any(
        file.is_relative_to(folder) and file.relative_to(folder).parts[0] not in _MACHINERY for folder in packages
    )


def _near(file: str) -> str:
    """A file as it is seen from the working directory where it lies below, else whole."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
