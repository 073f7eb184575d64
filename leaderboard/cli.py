"""The ``leaderboard`` command: what each of its commands takes, and does.

Exit status: 0 done; 1 the input is at fault, one line per problem on stderr; 2 wrong usage; 130 interrupted. A reader
of our output that leaves early changes nothing (`leaderboard.shell`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from leaderboard.cohort.case import PARTITIONS
from leaderboard.cohort.formats import FORMATS
from leaderboard.command_line import Parser
from leaderboard.errors import InputError, listed
from leaderboard.presets import PRESETS
from leaderboard.shell import progress_lines, run_command

_PROGRAM = "leaderboard"


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    return run_command(_PROGRAM, lambda: _parser(argv).parse_args(argv))


def _parser(words: Sequence[str]) -> Parser:
    """The parser; only the command in `words` gets its options, so that --help imports nothing for the others."""
    parser = Parser(_PROGRAM, description="Score and rank stroke lesion segmentations.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, text, add_options in (
        ("score", "score a folder or zip of masks: one row per case in cases.csv", _add_score),
        ("check", "would this submission be accepted? every problem, with the fix", _add_check),
        ("rank", "rank methods: leaderboard.csv, leaderboard.md and a printed table", _add_rank),
        ("compare", "are two methods different, by how much, and how sure is that?", _add_compare),
        ("report", "write the page: the ranking with figures, tables and pictures", _add_report),
        ("challenge", "a challenge in a folder: check, score what is new, rank, and answer each team", _add_challenge),
        ("verify", "is a published leaderboard what its scores give? every cell that differs", _add_verify),
        (
            "evaluate",
            "the scoring program of a challenge platform: Grand Challenge, CodaBench or EvalAI",
            _add_evaluate,
        ),
        ("pack", "what an organiser uploads to a platform: container, scripts, settings, ground truth", _add_pack),
        ("collect", "downloaded results of a platform as cases.csv, to be ranked per case", _add_collect),
        ("diff", "what changed between two leaderboards: settings, cases, methods, ranks, cells", _add_diff),
    ):
        command = commands.add_parser(name, help=text)
        if name in words:
            add_options(command)
    return parser


def _add_score(parser: Parser) -> None:
    from leaderboard.scoring.arguments import add_jobs, add_strictness

    parser.description = (
        "Score a folder or a zip of predicted masks against the references of a cohort. Finished cases are kept in "
        "CSV.partial until the table is written: the same command continues what was interrupted."
    )
    _add_submission(parser)
    parser.older = {"--reference": "--cohort"}
    parser.add_argument("--method", required=True, metavar="NAME", help="name of the method in the tables")
    parser.add_argument("--out", type=_csv_path, required=True, metavar="CSV", help="the cases.csv to write")
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), help="the challenge whose rules are to rank: says what it needs"
    )
    parser.add_argument("--folds", type=Path, metavar="CSV", help="columns case and fold: fills the fold of each case")
    parser.add_argument(
        "--patients", type=Path, metavar="CSV", help="columns case and patient, if the cohort does not have them"
    )
    add_jobs(parser)
    add_strictness(parser)
    parser.set_defaults(command=_score, fail=parser.error, interrupted="interrupted; the same command continues")


def _add_check(parser: Parser) -> None:
    from leaderboard.scoring.arguments import add_jobs

    parser.description = (
        "Check a folder or a zip of predicted masks and probability maps without scoring it: names, grids, values, "
        "damage, hostile archives."
    )
    _add_submission(parser)
    parser.older = {"--reference": "--cohort"}
    add_jobs(parser)
    parser.add_argument("--complete", action="store_true", help="a case without a prediction is a problem, too")
    parser.set_defaults(command=_check)


def _add_submission(parser: Parser) -> None:
    from leaderboard.scoring.arguments import add_grid

    parser.add_argument(
        "--cohort", type=Path, required=True, metavar="COHORT", help="cohort tree, or a folder of reference masks"
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder or zip of masks (.nii, .nii.gz, .mha, .nrrd) named like their cases (case_<k>), "
        "SMIR.<name>.<MTT id> or like the reference",
    )
    parser.add_argument(
        "--partition", choices=PARTITIONS, help="of a cohort with both (default: the one that names and grids fit)"
    )
    parser.add_argument("--format", choices=FORMATS, help="of the cohort (default: what its tree looks like)")
    parser.add_argument(
        "--probabilities",
        type=Path,
        metavar="DIR",
        help="folder or zip of the probability maps behind the masks, named like these, or that of the masks if it "
        "holds a folder probabilities: for PR-AUC, average precision, Brier score and calibration error",
    )
    add_grid(parser)


def _add_report(parser: Parser) -> None:
    from leaderboard.report.command import add_report

    add_report(parser)


def _add_compare(parser: Parser) -> None:
    from leaderboard.report.pair_command import add_compare

    add_compare(parser)


def _add_challenge(parser: Parser) -> None:
    from leaderboard.challenge.command import add_challenge

    add_challenge(parser, _progress)


def _add_verify(parser: Parser) -> None:
    from leaderboard.report.comparing import add_verify

    add_verify(parser)


def _add_diff(parser: Parser) -> None:
    from leaderboard.report.comparing import add_diff

    add_diff(parser)


def _add_evaluate(parser: Parser) -> None:
    from leaderboard.platforms.command import add_evaluate

    add_evaluate(parser, _progress)


def _add_pack(parser: Parser) -> None:
    from leaderboard.platforms.command import add_pack

    add_pack(parser)


def _add_collect(parser: Parser) -> None:
    from leaderboard.platforms.command import add_collect

    add_collect(parser)


def _add_rank(parser: Parser) -> None:
    from leaderboard.ranking.arguments import add_ranking_options
    from leaderboard.ranking.options import STRATA
    from leaderboard.report.published import PUBLISHED

    parser.description = "Rank the methods of one or several cases.csv."
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASES.csv", help="what leaderboard score wrote")
    parser.add_argument("--out", type=_csv_path, required=True, metavar="CSV", help="the leaderboard.csv to write")
    add_ranking_options(parser)
    parser.add_argument("--by", choices=STRATA, help="rank within strata as well: OUT_by_size.csv and .md")
    parser.add_argument("--latex", action="store_true", help="write OUT.tex as well, a tabular for booktabs")
    parser.add_argument("--published", choices=PUBLISHED, help="show this published table below, as printed")
    parser.set_defaults(command=_rank, fail=parser.error)


def _score(arguments: argparse.Namespace) -> int:
    from leaderboard.cases import refuse_other_method, write_cases
    from leaderboard.outputs import keep_apart, prepare_output
    from leaderboard.ranking.reading import without_patient
    from leaderboard.scoring.against_cohort import score_folder
    from leaderboard.scoring.folder import journal_of

    out, preset = arguments.out, PRESETS.get(arguments.preset)
    if preset and preset.needs_probabilities and not arguments.probabilities:
        arguments.fail(f"--preset {preset.name} ranks by probability maps, too: give them with --probabilities DIR")
    given = [arguments.folds, arguments.patients, arguments.predictions, arguments.probabilities]
    keep_apart(arguments.fail, [("--out", out)], given)
    refuse_other_method(out, arguments.method)
    prepare_output(out)
    notes: list[str] = []
    missing: list[list[str]] = []
    with _progress("scoring") as progress, _own_journal(journal_of(arguments.out)) as journal:
        frame = score_folder(
            arguments.cohort,
            arguments.predictions,
            arguments.method,
            probabilities=arguments.probabilities,
            partition=arguments.partition,
            format_name=arguments.format,
            grid=arguments.grid,
            folds=arguments.folds,
            patients=arguments.patients,
            jobs=arguments.jobs,
            lenient=arguments.lenient,
            complete=arguments.complete,
            progress=progress,
            on_problem=lambda problem: _complain(f"warning: {problem}"),
            on_missing=lambda *names: missing.extend(names),
            on_note=notes.append,
            journal=journal,
        )
    write_cases(arguments.out, frame)
    journal.unlink(missing_ok=True)
    if unknown := without_patient(frame):
        notes.append(f"{_patientless(unknown)}: give --patients CSV where cases share a patient")
    for note in notes:
        _complain(f"note: {note}")
    of = frame.attrs["partition"]
    kind = f"{of} case" if of else "case"
    refused, absent = missing
    if preset:
        print(preset.words)
    print(f"{arguments.out}: {_count(len(frame), kind)} of {arguments.method}{_missing_note(refused, absent)}")
    return 0


@contextmanager
def _own_journal(journal: Path) -> Iterator[Path]:
    """Remove what a refused run began, but keep what an interrupted one left before."""
    was_there = journal.exists()
    try:
        yield journal
    except InputError:
        if not was_there:
            journal.unlink(missing_ok=True)
        raise


def _check(arguments: argparse.Namespace) -> int:
    from leaderboard.scoring.references import find_cases, mixed_patients, partition_of, scored_against_themselves
    from leaderboard.scoring.submission import check_predictions

    cases = find_cases(arguments.cohort, arguments.predictions, arguments.partition, arguments.format, arguments.grid)
    notes = mixed_patients(arguments.cohort, cases) + scored_against_themselves(cases, arguments.predictions)
    with _progress("checking") as progress:
        absent = check_predictions(
            cases,
            arguments.predictions,
            probabilities=arguments.probabilities,
            grid=arguments.grid,
            jobs=arguments.jobs,
            complete=arguments.complete,
            progress=progress,
            on_note=notes.append,
        )
    for note in notes:
        _complain(f"note: {note}")
    predicted = _count(len(cases) - len(absent), "prediction")
    of = partition_of(arguments.cohort, cases)
    maps = ", with their probability maps" if arguments.probabilities else ""
    print(f"{arguments.predictions}: {predicted}{f' for {of}' if of else ''} accepted{maps}{_missing_note([], absent)}")
    return 0


def _rank(arguments: argparse.Namespace) -> int:
    from leaderboard.cases import read_cases
    from leaderboard.outputs import keep_apart, prepare_output
    from leaderboard.ranking.arguments import ranking_options
    from leaderboard.ranking.ranks import rank_methods
    from leaderboard.ranking.reading import left_out, without_patient
    from leaderboard.ranking.strata import rank_strata, split
    from leaderboard.report.leaderboard_files import write_leaderboard, written_files
    from leaderboard.report.published import read_published
    from leaderboard.report.results_file import BEGINS, results_file
    from leaderboard.report.terminal import print_leaderboard, print_strata

    written = written_files(arguments.out, latex=arguments.latex, by=arguments.by or "")
    keep_apart(arguments.fail, [("--out", path) for path in written], arguments.cases)
    options = ranking_options(arguments)
    prepare_output(arguments.out, begins="rank,")
    prepare_output(arguments.out.with_suffix(".md"), begins="# Leaderboard")
    prepare_output(results_file(arguments.out), begins=BEGINS)
    cases = read_cases(arguments.cases)
    if arguments.by:
        split(cases, arguments.by)  # what it refuses, before the work
    with _progress("ranking") as progress:
        table = rank_methods(cases, options, progress)
        strata = rank_strata(cases, arguments.by, options, progress) if arguments.by else {}
    for note in left_out(cases, options):
        _complain(f"note: {note}")
    unknown = without_patient(cases)
    if unknown and options.unit == "patient" and options.resamples:
        _complain(f"note: {_patientless(unknown)}: score with --patients CSV where cases share a patient")
    published = read_published(arguments.published) if arguments.published else None
    write_leaderboard(
        arguments.out, table, published=published, latex=arguments.latex, strata=strata, by=arguments.by or "",
        cases=cases,
    )  # fmt: skip
    print_leaderboard(table, published=published)
    if strata:
        print_strata(strata)
    return 0


@contextmanager
def _progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal's stderr, elsewhere a line now and then of what takes long."""
    if not sys.stderr.isatty():
        yield progress_lines(lambda text: _complain(f"{task}: {text}"))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        number = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(number, completed=done, total=total)


def _complain(text: str) -> None:
    print(f"{_PROGRAM}: {text}", file=sys.stderr)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _missing_note(refused: Sequence[str], absent: Sequence[str]) -> str:
    count = len(refused) + len(absent)
    if refused:
        parts = [
            f"{len(names)} {how} ({listed(names, 10)})"
            for names, how in ((refused, "refused"), (absent, "absent"))
            if names
        ]
        parts += [] if absent else ["0 absent"]
        return f"; {count} {'counts' if count == 1 else 'count'} as missing: {', '.join(parts)}"
    if not absent:
        return ""
    verbs = ("has", "counts") if count == 1 else ("have", "count")
    return f"; {count} {verbs[0]} no prediction and {verbs[1]} as missing ({listed(absent, 10)})"


def _patientless(cases: Sequence[str]) -> str:
    verb, counts = ("has", "it counts") if len(cases) == 1 else ("have", "each counts")
    return f"{_count(len(cases), 'case')} {verb} no known patient, {counts} as a patient of its own"


def _csv_path(text: str) -> Path:
    if not text.endswith(".csv"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .csv: name a CSV file")
    return Path(text)


class _Version(argparse.Action):
    """Looks up the version only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("isles-benchmark")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"{_PROGRAM} {number}")
        parser.exit()
