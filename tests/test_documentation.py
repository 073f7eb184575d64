"""Everything that the documentation names exists: linked files, headings, paths, commands and their options."""

from __future__ import annotations

import io
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import yaml

from benchmark.cli import main as benchmark
from leaderboard.cli import main as leaderboard

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "leaderboard/**/*.md", "benchmark/**/*.md")
    for path in ROOT.glob(pattern)
)
PROGRAMS: dict[str, Callable[[list[str]], int]] = {"benchmark": benchmark, "leaderboard": leaderboard}
#: Their help is LightningCLI's, which imports torch.
LIGHTNING = {"fit", "predict"}
#: What a script writes: between its markers, or the whole file.
GENERATED = re.compile(r"<!-- (\w+): written by .*?<!-- end of \1 -->", re.DOTALL)
WRITTEN = re.compile(r"leaderboard/results/[^/]+/leaderboard\.md")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
OUR_PATH = re.compile(r"(?<![\w./-])(?:benchmark|leaderboard|tests|tools|configs|docs)/[\w./-]+\.\w+(?![\w/*<-])")

of_each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@of_each_document
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    lost = []
    for match in LINK.finditer(FENCE.sub("", document.read_text(encoding="utf-8"))):
        target = match[1] or match[2]
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            lost.append(target)
    assert lost == []


@of_each_document
def test_every_path_of_this_project_is_there(document: Path) -> None:
    named = set(OUR_PATH.findall(document.read_text(encoding="utf-8")))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@of_each_document
def test_every_command_and_option_exists(document: Path) -> None:
    unknown = []
    for program, arguments in commands(document.read_text(encoding="utf-8")):
        known = known_options(program, arguments[0]) if arguments else None
        if known is None:
            unknown.append(f"{program} {' '.join(arguments)}")
            continue
        options = {argument.split("=")[0] for argument in arguments if argument.startswith("-") and argument != "--"}
        unknown += [f"{program} {arguments[0]}: {option}" for option in sorted(options - known)] if known else []
    assert unknown == []


@of_each_document
def test_lines_are_below_120_characters(document: Path) -> None:
    if WRITTEN.fullmatch(document.relative_to(ROOT).as_posix()):
        pytest.skip("written by the leaderboard")
    lines = GENERATED.sub("", document.read_text(encoding="utf-8")).splitlines()
    assert [line for line in lines if len(line) >= 120 and not line.startswith("|")] == []


def test_what_the_readme_says_of_ci_is_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    fences = "".join(FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert re.search(r"^nox -s tests\b", ci, re.MULTILINE)
    assert re.search(r"^nox -s tests\b", fences, re.MULTILINE)
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_a_cohort_that_is_said_to_be_of_no_other_suite_has_a_seed_of_its_own() -> None:
    configs = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "configs").glob("*.yaml")}
    twins = {name: yaml.safe_load(text).get("cohort", {}).get("twin") for name, text in configs.items()}
    seeds = {name: twin["seed"] for name, twin in twins.items() if twin}
    written = commands((ROOT / "docs" / "leakage.md").read_text(encoding="utf-8"))
    (made,) = [arguments for _, arguments in written if arguments[0] == "twin"]
    seeds["leakage"] = int(made[made.index("--seed") + 1])
    own = {name for name in seeds if "# of no other suite" in configs.get(name, "")}
    assert own == {"tuning.yaml", "twin-report.yaml"}
    counts = Counter(seeds.values())
    assert {name: counts[seeds[name]] for name in own | {"leakage"}} == dict.fromkeys(own | {"leakage"}, 1)


@of_each_document
def test_what_a_script_writes_is_there_or_said_to_be_not_run_yet(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for part in GENERATED.finditer(text):
        inside = "\n".join(part[0].splitlines()[1:-1]).strip()
        assert inside, f"nothing between the markers {part[1]}"
        assert inside.startswith("Not run yet: ") or "|---" in inside


def test_readme_and_changelog_say_what_was_not_run_yet_and_nothing_else_is_said_so() -> None:
    for page in ("docs/budget.md", "docs/leakage.md"):
        waits = "\nNot run yet: " in (ROOT / page).read_text(encoding="utf-8")
        for name in ("README.md", "CHANGELOG.md"):
            text = (ROOT / name).read_text(encoding="utf-8")
            links = text.count(f"]({page})")
            assert links
            said = len(re.findall(rf"\]\({page}\)(?:,\s+| \()not run yet\)", text))
            assert said == (links if waits else 0), f"{name}: {page}"


def test_every_extra_that_is_installed_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    named = {name for group in re.findall(r"pip install [^\n]*\.\[([\w,]+)\]", text) for name in group.split(",")}
    assert named
    assert named <= extras.keys()


def test_the_checks_find_what_is_wrong() -> None:
    text = "`leaderboard rank a.csv --colour`\n\n```\nX=1 benchmark fly && \\\n  nox -s teests  # no\n```\n"
    assert list(commands(text)) == [
        ("benchmark", ["fly"]), ("nox", ["teests"]), ("leaderboard", ["rank", "a.csv", "--colour"])
    ]  # fmt: skip
    assert "--colour" not in (known_options("leaderboard", "rank") or {"--colour"})
    assert known_options("benchmark", "fly") is None
    assert known_options("nox", "teests") is None


def anchors(document: Path) -> set[str]:
    """What the headings of a document are called in links: lower case, hyphens for spaces, no punctuation."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Program and arguments of each command line in code: of our programs, nox sessions and the scripts of tools/."""
    text = text.replace("\\\n", " ")
    fenced = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in (*fenced, *spans):
        for part in re.split(r"&&|\|\||;|(?<!\\)\|", line.partition(" #")[0]):
            try:
                words = shlex.split(part.replace("\\|", "|"))
            except ValueError:  # prose or code of another language
                continue
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                del words[0]
            if words[:2] == ["python", "-m"]:
                del words[:2]
            match words:
                case ["nox", "-s", "benchmark", "--", *arguments]:
                    yield "benchmark", ["run", *arguments]
                case ["nox", "-s", *sessions]:
                    names = sessions[: sessions.index("--")] if "--" in sessions else sessions
                    yield from (("nox", [name]) for name in names)
                case ["python", script, *arguments] if script.startswith("tools/"):
                    yield "python", [script, *arguments]
                case [program, command, *arguments] if program in PROGRAMS and re.fullmatch(r"[a-z-]+", command):
                    yield program, [command, *arguments]


@cache
def known_options(program: str, command: str) -> frozenset[str] | None:
    """Options of a command according to its help; empty if it was not asked; None if there is no such command."""
    if program == "nox":
        sessions = re.findall(r"@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text(encoding="utf-8"))
        return frozenset() if command in sessions else None
    if program == "python":
        script = ROOT / command
        return frozenset(re.findall(r'"(--[\w-]+)"', script.read_text(encoding="utf-8"))) if script.is_file() else None
    if program == "benchmark" and command in LIGHTNING:
        return frozenset()
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as end:
        PROGRAMS[program]([command, "--help"])
    return None if end.value.code else frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", printed.getvalue()))
