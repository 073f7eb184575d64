"""What is said of faults in code that users wrote: their file, their line, one line."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.methods.faults import definition_of, exits_told, find_named, noted, place_of, told, unlike
from leaderboard.errors import InputError

Write = Callable[[str, str], ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of a user's into the working directory, and imports it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def written(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text)
        return __import__(name)

    return written


def raised(function: Callable[..., Any], *arguments: Any) -> Exception:
    with pytest.raises(Exception) as error:  # noqa: PT011
        function(*arguments)
    return error.value


def test_the_users_line_is_told_where_a_library_raised(write: Write) -> None:
    users = write("users_line", "import torch\n\ndef loss(a, b):\n    c = a + 1\n    return c @ b\n")
    error = raised(users.loss, torch.zeros(2, 3), torch.zeros(2, 3))
    assert told(error).startswith("users_line.py:5, in loss: RuntimeError: mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("library", "call"),
    [("json", lambda: json.loads("{")), ("numpy", lambda: np.linalg.inv(np.zeros((2, 3)))),
     ("torch", lambda: nn.Linear(3, 1)(torch.zeros(2, 2)))],
)  # fmt: skip
def test_a_library_is_never_the_users(write: Write, library: str, call: Callable[[], Any]) -> None:
    users = write(f"users_{library}", "def work(call):\n    return call()\n")
    error = raised(users.work, call)
    # This test is a user's file as well, and the last that was there.
    assert place_of(error).startswith(f"{Path(__file__)}:")


@pytest.mark.parametrize(
    "words", ["sys.exit(0)", "raise SystemExit", "exit(3)", "argparse.ArgumentParser().error('x')"]
)
def test_code_of_the_users_that_ends_the_process_is_a_fault_of_theirs(write: Write, words: str) -> None:
    with pytest.raises(InputError, match=r"users_exit_\d+\.py:4, in call: ends the process"), exits_told():
        write(f"users_exit_{len(words)}", f"import argparse, sys\n\ndef call():\n    {words}\n").call()


def test_a_signal_that_comes_within_the_users_code_still_ends_the_process(write: Write) -> None:
    module = write("users_signal", "def call(work):\n    work()\n")

    def handler() -> None:
        raise SystemExit(143)

    handler.__code__ = handler.__code__.replace(co_filename=str(Path(torch.__file__)))  # as Lightning's and ours
    with pytest.raises(SystemExit), exits_told():
        module.call(handler)


def test_a_fault_within_this_package_is_no_users() -> None:
    error = raised(find_named.__wrapped__ if hasattr(find_named, "__wrapped__") else find_named, None)
    error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None  # without this test
    while error.__traceback__ and __file__ == error.__traceback__.tb_frame.f_code.co_filename:
        error.__traceback__ = error.__traceback__.tb_next
    assert "benchmark/methods/faults.py" in "".join(traceback.format_tb(error.__traceback__))
    assert place_of(error) == ""


def test_notes_are_said_and_those_of_our_own_errors_are_not() -> None:
    with pytest.raises(ValueError, match="wrong") as failed, noted(lambda: "images (2, 5)"):
        raise ValueError("wrong\nvery")
    assert told(failed.value).endswith("ValueError: wrong very (images (2, 5))")
    with pytest.raises(InputError) as refused, noted(lambda: "images (2, 5)"):
        raise InputError("all is said")
    assert not hasattr(refused.value, "__notes__")


def test_endless_words_are_cut() -> None:
    assert len(told(ValueError("x" * 10_000))) < 400


IMPORTS = {
    "missing": ("import monay.losses\n", ":1: ModuleNotFoundError: No module named 'monay': install it, or correct"),
    "name": ("from torch import NoSuch\n", ":1: ImportError: cannot import name 'NoSuch'"),
    "syntax": ("x = 1\ndef loss(self)\n    pass\n", ":2: SyntaxError: expected ':': correct it"),
    "raises": ("x = 1\ny = 1 / 0\n", ":2: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", ":2: ends the process (sys.exit)"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_module_that_fails_tells_its_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text, words = IMPORTS[name]
    (tmp_path / f"import_{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as refused:
        find_named(f"import_{name}.Mine")
    (problem,) = refused.value.problems
    assert problem.startswith(f"import_{name}.Mine: cannot be imported: import_{name}.py{words}")


@pytest.mark.parametrize("class_path", ["no_such_module.Mine", "torch.no_such_module.Mine"])
def test_a_module_that_is_not_there_is_told_how_to_be_found(class_path: str) -> None:
    with pytest.raises(InputError, match=r"there is no module [\w.]*no_such_module: put the folder .* on PYTHONPATH"):
        find_named(class_path)


def test_a_class_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"torch\.nn has no Nett: correct the class path"):
        find_named("torch.nn.Nett")


def test_signatures_are_bound_without_a_call(write: Write) -> None:
    users = write("users_signature", "class A:\n    def loss(self, logits):\n        raise SystemExit\n")
    assert unlike(users.A().loss, "logits", "batch") == (
        "users_signature.py:2: A.loss is called with (logits, batch), and takes (logits): correct it"
    )
    assert unlike(users.A().loss, "logits") == ""
    assert unlike(lambda *any_number: None, "logits", "batch") == ""


def test_a_definition_has_a_file_and_a_line_or_a_name(write: Write) -> None:
    users = write("users_definition", "x = 1\nclass A:\n    def f(self):\n        pass\n")
    assert definition_of(users.A) == "users_definition.py:2"
    assert definition_of(users.A().f) == "users_definition.py:3"
    assert definition_of(len) == "len"
    assert definition_of(SimpleNamespace()) == "SimpleNamespace"


def test_an_exit_through_the_hook_that_wandb_puts_in_the_place_of_sys_exit_is_told_too(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.sdk.lib.exit_hooks import ExitHooks

    for name in ("exit", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # put back afterwards
    ExitHooks().hook()
    with pytest.raises(InputError, match=r"users_hooked\.py:4, in call: ends the process"), exits_told():
        write("users_hooked", "import sys\n\ndef call():\n    sys.exit(0)\n").call()
