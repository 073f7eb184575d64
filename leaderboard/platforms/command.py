"""``leaderboard evaluate``: its options and what it prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.cohort.case import PARTITIONS
from leaderboard.cohort.formats import FORMATS
from leaderboard.command_line import Parser
from leaderboard.outputs import Fail
from leaderboard.parallel import cores
from leaderboard.platforms import NAMES
from leaderboard.platforms.interface import PER_CASE, Platform, Settings
from leaderboard.platforms.naming import case_of_name
from leaderboard.presets import PRESETS
from leaderboard.scoring.arguments import add_grid, add_jobs, add_strictness

if TYPE_CHECKING:
    from leaderboard.platforms.summary import Summary

#: Called with the name of a task; gives what is called with (done, total).
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def add_evaluate(parser: Parser, progress: Progress) -> None:
    """Give a parser the options of ``evaluate``."""
    parser.description = (
        "Score a submission inside the container of a challenge platform: finds the predictions where the platform "
        "puts them, and writes metrics.json, scores.json or result.json for it. Needs no network."
    )
    add_platform(parser)
    add_rules(parser)
    parser.add_argument(
        "--input", type=Path, metavar="DIR", help="what the platform hands over (default: where it does)"
    )
    parser.add_argument(
        "--cohort", type=Path, metavar="COHORT", help="references: cohort, folder or zip (default: where it puts them)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the result files (default: where it reads them)"
    )
    add_jobs(parser)
    parser.set_defaults(command=lambda arguments: run_evaluate(arguments, progress), fail=parser.error)


def add_pack(parser: Parser) -> None:
    """Give a parser the options of ``pack``."""
    parser.description = (
        "Write what an organiser uploads to a challenge platform: the scoring program with pinned versions, scripts "
        "that build and test it, the references in the platform's layout, and its settings."
    )
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the folder to write; it must not hold anything yet")
    add_platform(parser)
    add_rules(parser)
    add("--cohort", type=Path, required=True, metavar="COHORT", help="references: cohort, folder or zip of masks")
    add("--title", default="Stroke lesion segmentation", help="of the challenge (default: %(default)s)")
    add("--image", help="name of the container's image; CodaBench gets it from a registry (default: leaderboard)")
    add(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="wheel of this package for the container (default: its version from an index)",
    )
    add("--start", type=_day, metavar="DAY", help="on which the phase begins, as 2027-01-31 (default: today)")
    add("--end", type=_day, metavar="DAY", help="on which it ends (default: never, on EvalAI a year later)")
    add("--selftest", action="store_true", help="then evaluate references, empty masks, a missing case and nothing")
    parser.first = ("--out",)
    parser.set_defaults(command=run_pack, fail=parser.error)


def add_collect(parser: Parser) -> None:
    """Give a parser the options of ``collect``."""
    parser.description = (
        "Make cases.csv of results that were downloaded from a platform and hold a row a case, so that they can be "
        "ranked per case. A method is called like its file, or like its folder where the file is metrics.json."
    )
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="RESULTS.json", help="what evaluate or another scorer wrote")
    add("--out", type=Path, required=True, metavar="CSV", help="the table to write")
    add("--rename", type=_renaming, action="append", default=[], metavar="OLD=NEW", help="another name for a column")
    parser.set_defaults(command=run_collect, fail=parser.error)


def add_platform(parser: Parser) -> None:
    """Give a parser ``--platform``."""
    parser.add_argument("--platform", choices=NAMES, required=True, help="the platform whose layouts are meant")


def add_rules(parser: Parser) -> None:
    """Give a parser what an organiser decides once: these options stand in the packed container."""
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), help="the challenge whose rules count (default: the leaderboard's own)")
    add_grid(parser, default=Settings.grid)
    add("--partition", choices=PARTITIONS, help="of a cohort with both")
    add("--format", choices=FORMATS, help="of the cohort (default: what its tree looks like)")
    add_strictness(parser)
    add(
        "--per-case",
        choices=PER_CASE,
        default="none",
        help="a row a case in the results, for leaderboard collect: never where participants see them, who can tell "
        "the cases of anonymous rows by the volumes of their own masks (default: %(default)s)",
    )
    add(
        "--case-pattern",
        default="",
        metavar="REGEX",
        help="finds a case's name in the name of its image or mask (default: the name itself, or its subject)",
    )
    add(
        "--mask-socket",
        default=Settings.mask_socket,
        metavar="SLUG",
        help="of the masks on Grand Challenge (default: %(default)s)",
    )
    add(
        "--map-socket",
        default=Settings.map_socket,
        metavar="SLUG",
        help="of the probability maps there (default: %(default)s)",
    )
    add(
        "--split",
        default=Settings.split,
        metavar="NAME",
        help="codename of EvalAI's dataset split (default: %(default)s)",
    )


#: What `add_rules` adds, by the names in `Settings`.
RULES = (
    "preset", "grid", "partition", "format", "complete", "lenient", "per_case", "case_pattern", "mask_socket",
    "map_socket", "split",
)  # fmt: skip


def settings_of(arguments: argparse.Namespace, submission: Path, references: Path, jobs: int | None) -> Settings:
    """The settings that the options ask for."""
    rules = {name: getattr(arguments, name) for name in RULES}
    rules["preset"] = rules["preset"] or ""
    return Settings(submission=submission, references=references, jobs=jobs, **rules)


def run_evaluate(arguments: argparse.Namespace, progress: Progress) -> int:
    """Evaluate, write, and say in one line what came of it."""
    from leaderboard.outputs import keep_apart
    from leaderboard.platforms.evaluation import PLATFORMS, clear_results, evaluate, write_results

    platform = PLATFORMS[arguments.platform]
    there = next((path for path in platform.references if path.exists()), next(iter(platform.references), None))
    submission = _given(arguments, "--input", arguments.input or platform.submission)
    references = _given(arguments, "--cohort", arguments.cohort or there)
    out = _given(arguments, "--out", arguments.out or platform.out)
    keep_apart(arguments.fail, [("--out", out)], [], [submission, references])
    settings = settings_of(arguments, submission, references, arguments.jobs or _workers(platform))
    clear_results(out, platform.files)
    with progress("scoring") as report:
        found = evaluate(platform, settings, progress=report, on_note=_log, on_problem=_log)
    write_results(out, found.files)
    print(sentence(out / next(iter(found.files)), found.summary, len(found.absent), len(found.refused)))
    return 0


def run_pack(arguments: argparse.Namespace) -> int:
    """Pack, test if asked to, and say what was written."""
    from contextlib import ExitStack

    from leaderboard.cohort.banner import SYNTHETIC
    from leaderboard.platforms.evaluation import PLATFORMS, open_references
    from leaderboard.platforms.packing import GROUND_TRUTH, Pack, write_pack
    from leaderboard.platforms.selftest import selftest

    if arguments.platform == "codabench" and not arguments.image:
        arguments.fail("--platform codabench needs --image NAME, under which its workers find the container's image")
    out: Path = arguments.out
    settings = settings_of(arguments, out, arguments.cohort, None)
    case_of_name((), settings.case_pattern)  # which the container would refuse of every team
    start = arguments.start or date.today()
    end = arguments.end or (start + timedelta(days=365) if arguments.platform == "evalai" else None)
    if end and end < start:
        arguments.fail(f"--end {end} comes before --start {start}: correct one of them")
    pack = Pack(
        platform=arguments.platform,
        settings=settings,
        title=arguments.title,
        image=arguments.image or "leaderboard",
        wheel=arguments.wheel,
        start=f"{start} 00:00:00",
        end=f"{end} 00:00:00" if end else "",
    )
    with ExitStack() as stack:
        cases, synthetic = open_references(stack, settings)
        files = write_pack(out, pack, cases, SYNTHETIC if synthetic else "")
        print(f"{out}: {len(cases)} references and {len(files)} files; {out / 'README.md'} says what to do with them")
        if arguments.selftest:
            packed = replace(settings, references=out / GROUND_TRUTH[pack.platform], partition=None, format=None)
            for line in selftest(PLATFORMS[pack.platform], packed, cases):
                print(line)
    return 0


def run_collect(arguments: argparse.Namespace) -> int:
    """Collect, write, and say how many there are."""
    from leaderboard.outputs import keep_apart, prepare_output
    from leaderboard.platforms.collect import collect, write_collected

    keep_apart(arguments.fail, [("--out", arguments.out)], arguments.results)
    prepare_output(arguments.out, begins="method,")
    frame, notes = collect(arguments.results, arguments.rename)
    for note in notes:
        print(f"leaderboard: note: {note}", file=sys.stderr)
    write_collected(arguments.out, frame)
    print(f"{arguments.out}: {frame['method'].nunique()} methods, {frame['case'].nunique()} cases")
    return 0


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW: correct it")
    return old, new


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2027-01-31: correct it") from None


def _given(arguments: argparse.Namespace, option: str, path: Path | None) -> Path:
    """A path that was given, or that the platform has a place for; calls `arguments.fail` without."""
    if path is None:
        fail: Fail = arguments.fail
        fail(f"--platform {arguments.platform} has no place of its own for {option}: give it")
    return path


def sentence(where: Path, summary: Summary, absent: int, refused: int) -> str:
    """What came of a submission, in one line."""
    means = ", ".join(f"{name} {summary.metrics[name].mean:g}" for name in summary.ranked)
    lacking = f"; counted as missing: {absent} without a prediction, {refused} refused" if absent or refused else ""
    return f"{where}: {summary.cases} cases, preset {summary.about['preset']}, means: {means}{lacking}"


def _workers(platform: Platform) -> int | None:
    """The number of processes that the platform allows; None: it says nothing."""
    text = os.environ.get(platform.workers, "") if platform.workers else ""
    return min(int(text), cores()) if text.isdecimal() and int(text) > 0 else None


def _log(text: str) -> None:
    """To the log: participants are shown the last line of stderr."""
    print(text, file=sys.stdout)
