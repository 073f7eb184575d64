"""The container definitions: what each step copies and calls exists, and what is copied is enough to install."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
SCRIPTS = PROJECT["project"]["scripts"]


def docker_steps() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def sections() -> dict[str, list[str]]:
    """The lines of each section of the Apptainer definition; the header under an empty name."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in (ROOT / "apptainer.def").read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


def copied_by_docker() -> list[str]:
    return [source for step, rest in docker_steps() if step == "COPY" for source in rest.split()[:-1]]


def copied_by_apptainer() -> list[str]:
    return [line.split()[0] for line in sections()["files"]]


@pytest.mark.parametrize("copied", [copied_by_docker, copied_by_apptainer])
def test_what_is_copied_exists_and_is_all_that_an_installation_needs(copied) -> None:
    sources = set(copied())
    assert [name for name in sources if not (ROOT / name).exists()] == []
    build = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert sources == needed | set(build["packages"]) | set(build["force-include"])


def test_docker_sends_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied_by_docker())
    assert not any(fnmatch(name, line) for name in copied_by_docker() for line in lines if line[0] not in "!#*")


def test_both_install_the_pinned_suite_with_the_same_command() -> None:
    (of_docker,) = (rest for step, rest in docker_steps() if step == "RUN" and "pip" in rest)
    (of_apptainer,) = (line for line in sections()["post"] if "pip" in line)
    (argument,) = (rest for step, rest in docker_steps() if step == "ARG")
    name, _, value = argument.partition("=")
    assert of_docker.replace(f"${{{name}}}", value) == of_apptainer
    words = shlex.split(of_apptainer)
    assert words[:4] == ["python", "-m", "pip", "install"]
    assert words[words.index("-c") + 1] == "constraints.txt"
    extras = re.fullmatch(r"\.\[([\w,]+)\]", words[-1])
    assert extras
    assert set(extras[1].split(",")) <= EXTRAS.keys()


def test_the_base_image_has_a_python_that_the_project_takes() -> None:
    (of_docker,) = (rest for step, rest in docker_steps() if step == "FROM")
    assert f"From: {of_docker}" in sections()[""]
    version = tuple(map(int, re.fullmatch(r"python:(\d+)\.(\d+)-slim", of_docker).groups()))  # type: ignore[union-attr]
    least, below = re.fullmatch(r">=([\d.]+),<([\d.]+)", PROJECT["project"]["requires-python"]).groups()  # type: ignore[union-attr]
    assert tuple(map(int, least.split("."))) <= version < tuple(map(int, below.split(".")))


def test_what_is_called_is_a_command_of_the_project() -> None:
    (command,) = (json.loads(rest) for step, rest in docker_steps() if step == "CMD")
    called = [command, *(line.split() for line in sections()["test"])]
    for words in called:
        assert words[0] in SCRIPTS
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, cwd=ROOT, check=False)
        assert done.returncode == 0


def test_docker_does_not_run_as_root() -> None:
    steps = [step for step, _ in docker_steps()]
    assert steps.index("USER") > max(place for place, step in enumerate(steps) if step in ("RUN", "COPY"))
