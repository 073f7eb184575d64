"""The rooms and their order: a module imports from its own room or one below, and nothing goes in a circle."""

from __future__ import annotations

import ast
import importlib.util
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

#: From the lowest to the highest; a module at a package's root is a room of its own.
ROOMS = {
    "leaderboard": (
        "errors", "shell", "command_line", "outputs", "parallel", "io", "cohort", "columns", "presets", "cases",
        "scoring", "ranking", "report", "challenge", "platforms", "regenerate", "cli",
    ),
    "benchmark": (
        "machine", "rundir", "cohort", "pipeline", "methods", "suite", "training", "launchers", "commands", "cli",
    ),
}  # fmt: skip
ROOT = {name: Path(str(importlib.util.find_spec(name).submodule_search_locations[0])) for name in ROOMS}


def module_of(path: Path, package: str) -> str:
    parts = path.relative_to(ROOT[package]).with_suffix("").parts
    return ".".join([package, *(part for part in parts if part != "__init__")])


def imports() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, those within functions included."""
    files = {module_of(path, name): path for name in ROOMS for path in ROOT[name].rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {
                    full if (full := f"{node.module}.{alias.name}") in files else node.module for alias in node.names
                }
        graph[module] = {name for name in found if name in files and name != module}
    return graph


def room(module: str) -> tuple[str, str] | None:
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return (package, name) if name and name != "__main__" else None


GRAPH = imports()


def test_every_module_lies_in_a_room() -> None:
    assert {found for module in GRAPH if (found := room(module))} == {
        (package, name) for package, names in ROOMS.items() for name in names
    }


def test_nothing_goes_in_a_circle() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError and names the circle


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_none_above_it(package: str) -> None:
    order = {name: place for place, name in enumerate(ROOMS[package])}
    upward = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if (here := room(module)) and (there := room(other)) and here[0] == there[0] == package
        if order[there[1]] > order[here[1]]
    ]
    assert not upward


def test_the_leaderboard_knows_neither_benchmark_nor_torch() -> None:
    found = {
        name.partition(".")[0]
        for path in ROOT["leaderboard"].rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert not found & {"benchmark", "torch", "pytorch_lightning", "torchio"}


#: What only `benchmark` writes; a page gets it as a banner, notes and sections.
OF_BENCHMARK = ("twin.json", "costs.csv", "provenance", "gmac", "fit_seconds", "predict_seconds", "peak_memory")


@pytest.mark.parametrize("word", OF_BENCHMARK)
def test_the_leaderboard_names_nothing_that_only_benchmark_writes(word: str) -> None:
    sources = [path for kind in ("*.py", "*.j2", "*.js") for path in ROOT["leaderboard"].rglob(kind)]
    assert not [str(path) for path in sources if word in path.read_text(encoding="utf-8").lower()]
