"""The ``benchmark`` command. Heavy imports happen in the commands, so that help is quick."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.commands.releases import RELEASES
from benchmark.launchers import LAUNCHERS
from leaderboard.cohort.formats import FORMATS
from leaderboard.command_line import Parser
from leaderboard.errors import InputError
from leaderboard.shell import run_command

#: LightningCLI's commands, and what is said where one has no arguments.
_LIGHTNING = {
    "fit": "trains one method by hand (benchmark run does a whole suite): give its config and a cohort, as in "
    "--config configs/methods/strokenet.yaml --data.cohort DIR",
    "predict": "predicts with one method by hand (benchmark predict-cohort does it for a finished job): give its "
    "config, a cohort and a checkpoint, as in --config RUN/config.yaml --data.cohort DIR "
    "--ckpt_path RUN/checkpoints/last.ckpt",
}
_INTERRUPTED = "interrupted: run the same command again to continue"
#: On CPUs with AMX, torch 2.13 (oneDNN 3.12) computes the weights' gradients of 3D convolutions over slices of 96 x 96
#: and more wrongly in bfloat16: 10 to 35 % off, or not finite (benchmark/methods/fcn3d_crf/README.md). So the
#: instructions before AMX are taken, unless the user says otherwise.
_WITHOUT_AMX = ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        Exit status: 0 done, 1 the input is at fault, values of options too, 130 interrupted, 143 terminated (the parser
        exits with 2 on wrong usage).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # At its end Python looks for garbage in everything that was imported, which takes seconds on a busy machine.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    os.environ.setdefault(*_WITHOUT_AMX)  # before torch is imported, here and in all processes that we start
    return run_command("benchmark", lambda: _parsed(arguments))


def _parsed(arguments: list[str]) -> argparse.Namespace:
    if arguments[:1] and arguments[0] in _LIGHTNING:
        if not arguments[1:]:
            Parser(prog=f"benchmark {arguments[0]}").error(_LIGHTNING[arguments[0]])
        return argparse.Namespace(command=_lightning, arguments=arguments, interrupted=_INTERRUPTED)
    return _parser().parse_args(arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="benchmark",
        description="Train stroke lesion segmentation methods under one protocol, and rank them.",
        epilog="benchmark fit and benchmark predict take LightningCLI's arguments: benchmark fit --help.",
    )
    parser.set_defaults(interrupted=_INTERRUPTED)
    parser.add_argument("--version", action="version", version=f"isles-benchmark {metadata.version('isles-benchmark')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run", help="the whole suite: train, predict, score, rank; continues what was interrupted"
    )
    run.add_argument("--config", required=True, help="suite config: a path, or the name of a shipped one (twin)")
    run.add_argument("--cohort", type=Path, help="folder of the cases; default: the config's synthetic twin")
    _add_format(run)
    run.add_argument("--out", type=Path, default=Path("runs"), help="folder above the suite's (default: runs)")
    run.add_argument("--methods", type=_names, help="only these methods: a,b")
    run.add_argument("--folds", type=_numbers, help="only these folds: 0,1")
    run.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help="where jobs run (default: local, this machine); docs/slurm.md",
    )
    run.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", dest="settings",
        help="change a setting of every job: --set trainer.max_epochs=1",
    )  # fmt: skip
    run.add_argument("--allow-leaky-folds", action="store_true", help="accept a fold file that splits a patient")
    run.add_argument("--restart-changed", action="store_true", help="do jobs again whose inputs changed")
    run.set_defaults(command=_run)

    cancel = commands.add_parser("cancel", help="end a suite's jobs on a cluster; the next run takes them up again")
    cancel.add_argument("--config", required=True, help="suite config, as for run")
    cancel.add_argument("--out", type=Path, default=Path("runs"), help="folder above the suite's (default: runs)")
    cancel.add_argument("--methods", type=_names, help="only these methods: a,b")
    cancel.add_argument("--folds", type=_numbers, help="only these folds: 0,1")
    cancel.set_defaults(command=_cancel)

    twin = commands.add_parser("twin", help="write a synthetic cohort in the tree of ISLES 2018, 2022 or 2024")
    twin.add_argument("out", type=Path, metavar="OUT", help="(or --out OUT) folder to write")
    twin.first = ("--out",)
    twin.add_argument("--cases", type=int, required=True, help="training cases, 1 to 94 (250 of 2022, 149 of 2024)")
    twin.add_argument(
        "--size",
        type=int,
        required=True,
        help="voxels along a slice's side, 32 to 256; the real ones are 256, of 2022 112, of 2024 512",
    )
    twin.add_argument("--seed", type=int, default=0, help="default: 0")
    twin.add_argument("--format", default="isles2018", help="isles2018 (default), isles2022 or isles2024")
    twin.add_argument("--test-cases", type=int, default=0, help="test cases of isles2018, 0 to 62 (default: 0)")
    twin.add_argument("--jobs", type=int, help="processes (default: one a core)")
    twin.set_defaults(command=_twin)

    check = commands.add_parser("check", help="is this cohort sound?")
    check.add_argument("cohort", type=Path, metavar="COHORT", help="(or --cohort COHORT) folder of the cases")
    check.first = ("--cohort",)
    check.add_argument("--partition", choices=["training", "testing"], help="default: both")
    _add_format(check)
    check.set_defaults(command=_check)

    fetch = commands.add_parser("fetch", help="a public release: downloaded, checked and unpacked; continues")
    fetch.add_argument("release", choices=RELEASES, metavar="RELEASE", help=f"{', '.join(RELEASES)}")
    fetch.add_argument("folder", type=Path, metavar="DIR", help="(or --out DIR) new or empty folder to write")
    fetch.last = ("--out",)
    fetch.add_argument("--yes", action="store_true", help="do not ask: size and licence are as they should be")
    fetch.set_defaults(command=_fetch)

    predict = commands.add_parser("predict-cohort", help="predictions for new cases, named for submission")
    predict.add_argument(
        "--run", type=Path, required=True, help="run directory of a finished job: .../<method>/fold<k>"
    )
    predict.add_argument("--cohort", type=Path, required=True, help="folder of the cases")
    _add_format(predict)
    predict.add_argument("--out", type=Path, required=True, help="folder to write, or a .zip to submit")
    predict.add_argument("--partition", choices=["training", "testing"], help="default: testing where it is there")
    predict.add_argument("--name", help="free part of the file names (default: the method's name)")
    _add_trust(predict)
    predict.set_defaults(command=_predict_cohort)

    verify = commands.add_parser("verify", help="does a finished job give the same bytes again?")
    verify.add_argument(
        "run", type=Path, metavar="RUN", help="(or --run RUN) run directory of a finished job: .../<method>/fold<k>"
    )
    verify.first = ("--run",)
    verify.add_argument("--retrain", action="store_true", help="train again too, instead of predicting alone")
    _add_trust(verify)
    verify.set_defaults(command=_verify)

    sanity = commands.add_parser(
        "sanity", help="does a method learn? four checks on two cases, and the real recipe's first steps"
    )
    sanity.add_argument("method", metavar="METHOD", help="its name")
    sanity.add_argument("--config", default="twin", help="suite whose settings the method takes (default: twin)")
    sanity.add_argument(
        "--cohort",
        type=Path,
        help="where the cases come from (default: a small synthetic twin; for the real recipe's steps the suite's own "
        "twin, or one of 94 cases of 256 x 256)",
    )
    _add_format(sanity)
    sanity.add_argument("--epochs", type=int, default=200, help="of learning by heart, at most (default: 200)")
    sanity.add_argument("--minutes", type=float, default=10.0, help="likewise (default: 10)")
    sanity.add_argument(
        "--steps",
        type=int,
        default=200,
        help="of the real recipe on the whole cohort, at most; 0 leaves this check out (default: 200)",
    )
    sanity.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", dest="settings",
        help="change a setting: --set data.batch_size=8",
    )  # fmt: skip
    sanity.set_defaults(command=_sanity)

    cost = commands.add_parser("cost", help="weights, multiplications, memory and seconds of each method for one case")
    cost.add_argument(
        "--config", default="isles2018", help="suite whose settings the methods take (default: isles2018)"
    )
    cost.add_argument("--methods", type=_names, help="only these methods: a,b")
    cost.add_argument("--cohort", type=Path, help="take its first case (default: a synthetic one of 8 slices)")
    _add_format(cost)
    cost.add_argument("--size", type=int, default=256, help="pixels a side of the synthetic case (default: 256)")
    cost.add_argument("--out", type=Path, help="CSV to write")
    cost.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", dest="settings",
        help="change a setting of every method: --set trainer.precision=32-true",
    )  # fmt: skip
    cost.set_defaults(command=_cost)

    nnunet = commands.add_parser("export-nnunet", help="the training cases as an nnU-Net v2 dataset with our folds")
    nnunet.add_argument("cohort", type=Path, metavar="COHORT", help="(or --cohort COHORT) folder of the cases")
    nnunet.add_argument(
        "out", type=Path, metavar="OUT", help="(or --out OUT) folder to write nnUNet_raw and nnUNet_preprocessed in"
    )
    nnunet.first, nnunet.last = ("--cohort",), ("--out",)
    _add_format(nnunet)
    nnunet.add_argument(
        "--folds",
        type=Path,
        required=True,
        help="fold file: configs/folds/isles2018.csv, or the folds.csv of a suite's folder",
    )
    nnunet.add_argument("--number", type=int, default=18, help="nnU-Net's dataset id, 1 to 999 (default: 18)")
    nnunet.add_argument("--allow-leaky-folds", action="store_true", help="accept a fold file that splits a patient")
    nnunet.set_defaults(command=_export_nnunet)

    folds = commands.add_parser("folds", help="a cohort's folds as our CSV, nnU-Net's splits or a datalist of MONAI")
    folds.add_argument("cohort", type=Path, metavar="COHORT", help="(or --cohort COHORT) folder of the cases")
    folds.first = ("--cohort",)
    _add_format(folds)
    folds.add_argument(
        "--out", type=Path, required=True, help=".csv, splits_final.json (nnU-Net's) or another .json (MONAI's)"
    )
    folds.add_argument("--folds", type=Path, help="file to convert, of any of the three kinds (default: make folds)")
    folds.add_argument("--number", type=int, default=5, help="how many are made (default: 5)")
    folds.add_argument("--by", choices=["centre"], help="make each centre a fold")
    folds.add_argument("--seed", type=int, default=0, help="the suite's (default: 0)")
    folds.add_argument("--allow-leaky-folds", action="store_true", help="accept a file that splits a patient")
    folds.set_defaults(command=_folds)

    commands.add_parser("fit", help="LightningCLI for one method: benchmark fit --help", add_help=False)
    commands.add_parser("predict", help="LightningCLI for one method: benchmark predict --help", add_help=False)

    job = commands.add_parser("job", help="one job of a suite, from its run directory (what `run` starts)")
    job.add_argument(
        "runs", type=Path, metavar="RUN", nargs="+", help="run directory with a config.yaml; of several, one by one"
    )
    job.set_defaults(command=_job)

    server = commands.add_parser("serve")  # without help: it is for `run` alone
    server.add_argument("connection", type=int, metavar="FD")
    server.add_argument("modules", nargs="*", metavar="MODULE")
    server.set_defaults(command=_serve)
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names none: name at least one, as in a,b")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of fold numbers: give some, as in 0,1") from None


def _setting(text: str) -> dict[str, Any]:
    """``trainer.max_epochs=1`` -> {"trainer": {"max_epochs": 1}}."""
    from benchmark.rundir.plain_yaml import parse_yaml

    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form section.key=value: correct it, as in trainer.max_epochs=1"
        )
    try:
        setting: Any = parse_yaml(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: the value {error}") from None
    for part in reversed(key.split(".")):
        setting = {part: setting}
    return dict(setting)


def _require_training(command: str) -> None:
    _require(command, "torch", "pytorch_lightning", "torchio")


def _require(command: str, *modules: str) -> None:
    """Say what to install where the extra `train` is missing."""
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        from benchmark.machine.environment import installing

        raise InputError(f"{command}: needs {', '.join(missing)}: in the project's clone, {installing('train')}")


def _compute_here(command: str) -> None:
    """What a command needs that computes networks in this process or in its children, and not in jobs of a launcher."""
    _require_training(command)
    from benchmark.machine.memory import keep_memory

    keep_memory()


def _console() -> Any:
    from rich.console import Console

    return Console(markup=False)  # what users name (x[/b]) is no markup; what has a style is a Text


def _lightning(options: argparse.Namespace) -> int:
    _compute_here(f"benchmark {options.arguments[0]}")
    from benchmark.training.by_hand import main as lightning

    return lightning(options.arguments)


def _run(options: argparse.Namespace) -> int:
    _require_training("benchmark run")
    from benchmark.commands.run import Request, run
    from benchmark.suite.config_files import merge

    request = Request(
        config=options.config,
        cohort=options.cohort,
        format=options.format,
        out=options.out,
        methods=options.methods,
        folds=options.folds,
        settings=merge(*options.settings),
        allow_leaky_folds=options.allow_leaky_folds,
        restart_changed=options.restart_changed,
        launcher=options.launcher,
    )
    return run(request, _console())


def _cancel(options: argparse.Namespace) -> int:
    from benchmark.commands.cancel import cancel

    ended = cancel(options.config, options.out, options.methods, options.folds)
    for run in ended:
        print(f"ended: {run}")
    print(f"{len(ended)} jobs ended" if ended else "none of the suite's jobs is queued or runs elsewhere")
    return 0


def _twin(options: argparse.Namespace) -> int:
    from benchmark.cohort.twin import write_twin
    from benchmark.commands.progress import counted

    with counted("twin", _console()) as progress:
        write_twin(
            options.out,
            cases=options.cases,
            size=options.size,
            seed=options.seed,
            test_cases=options.test_cases,
            jobs=options.jobs,
            progress=progress,
            format_name=options.format,
        )
    return 0


def _check(options: argparse.Namespace) -> int:
    return _check_folder(options.cohort, options.partition, options.format)


def _check_folder(cohort: Path, partition: Any = None, format_name: str | None = None) -> int:
    from benchmark.cohort.check import check_cohort, print_report
    from benchmark.commands.progress import counted

    console = _console()
    with counted("checked", console) as progress:
        report = check_cohort(cohort, partition, progress, format_name)
    print_report(report, console)
    return report.exit_status


def _fetch(options: argparse.Namespace) -> int:
    _require("benchmark fetch", "pooch")
    from benchmark.commands.fetch import fetch

    def agree() -> bool:
        if options.yes:
            return True
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise InputError(f"{options.release}: nobody can be asked here: give --yes to fetch it under this licence")
        try:
            return input("fetch it? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    cohort = fetch(options.release, options.folder, agree, _console())
    return _check_folder(cohort, format_name=options.release)


def _add_format(parser: Parser) -> None:
    parser.add_argument("--format", choices=FORMATS, help="of the cohort (default: what its tree looks like)")


def _add_trust(parser: Parser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load own methods and whatever else its config names: may run code",
    )


def _predict_cohort(options: argparse.Namespace) -> int:
    from benchmark.commands.first_checks import require_file_name, require_finished, require_free
    from leaderboard.cohort.formats import find_format

    require_file_name(options.name)
    require_finished(options.run)
    find_format(options.cohort, options.format)
    require_free(options.out)
    _compute_here("benchmark predict-cohort")
    from benchmark.commands.predict_cohort import predict_cohort

    predicted = predict_cohort(
        options.run,
        options.cohort,
        options.out,
        options.partition,
        options.name,
        format_name=options.format,
        trust=options.trust,
    )
    print(f"{len(predicted.cases)} predictions written to {options.out}")
    if count := len(predicted.trained_on):
        print(
            f"note: {options.run} was trained on {count} of these cases: their scores would say nothing",
            file=sys.stderr,
        )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from benchmark.commands.first_checks import require_finished

    require_finished(options.run, " (published tables are for leaderboard verify)")
    _compute_here("benchmark verify")
    from benchmark.commands.verify import verify

    verdict = verify(options.run, retrain=options.retrain, trust=options.trust)
    for name in verdict.different:
        remedy = ": it was damaged, benchmark run makes it again" if name in verdict.damaged else ""
        print(f"{options.run / name}: differs{remedy}", file=sys.stderr)
    for remark in verdict.remarks:
        print(f"note: {remark}", file=sys.stderr)
    how = "training" if options.retrain else "predicting"
    print(f"{verdict.compared - len(verdict.different)} of {verdict.compared} files are the same after {how} again")
    return 1 if verdict.different else 0


def _sanity(options: argparse.Namespace) -> int:
    if options.epochs < 1 or options.minutes <= 0:  # before torch is imported
        raise InputError("--epochs and --minutes must be greater than 0")
    if options.steps == 1 or options.steps < 0:
        raise InputError("--steps must be 0, or 2 at least")
    _require_sound(options.config, options.method, options.cohort, options.format)
    _compute_here("benchmark sanity")
    from benchmark.commands.progress import counted
    from benchmark.commands.sanity import Check, check_method
    from benchmark.commands.steadiness import check_steadiness, write_suite_twin
    from benchmark.commands.suites import open_suite
    from benchmark.suite.config_files import merge

    console = _console()
    passed = True

    def tell(checks: Sequence[Check]) -> None:
        nonlocal passed
        for check in checks:
            console.print(f"{check.outcome}  {check.name}: {check.seen}", highlight=False, markup=False, soft_wrap=True)
            if check.advice:
                console.print(f"        {check.advice}", highlight=False, markup=False, soft_wrap=True)
        passed = passed and all(check.passed for check in checks)

    cohort, settings = options.cohort, merge(*options.settings)
    named = (options.format or open_suite(options.config).format) if cohort else None
    with counted("learning by heart", console, "epochs") as progress:
        checks = check_method(
            options.method,
            suite=options.config,
            cohort=cohort,
            format_name=options.format,
            settings=settings,
            epochs=options.epochs,
            minutes=options.minutes,
            progress=progress,
        )
    tell(checks)
    if options.steps:
        with tempfile.TemporaryDirectory() as folder:
            if cohort is None:
                cohort = Path(folder)
                with counted("twin", console) as progress:
                    write_suite_twin(options.config, cohort, progress)
            with counted("the real recipe", console, "steps") as progress:
                check = check_steadiness(
                    options.method,
                    cohort,
                    suite=options.config,
                    format_name=named,
                    settings=settings,
                    steps=options.steps,
                    progress=progress,
                )
        tell([check])
    return 0 if passed else 1


def _require_sound(suite: str, method: str, cohort: Path | None, format_name: str | None) -> None:
    """Refuse an unknown suite, method or cohort."""
    from benchmark.commands.suites import open_suite
    from benchmark.suite.config import method_config
    from leaderboard.cohort.formats import find_format

    read = open_suite(suite)
    method_config(read, method, {})
    if cohort is not None:
        find_format(cohort, format_name or read.format)


def _cost(options: argparse.Namespace) -> int:
    _compute_here("benchmark cost")
    from benchmark.commands.cost import measure_costs
    from benchmark.commands.cost_table import print_costs
    from benchmark.commands.progress import counted
    from benchmark.suite.config_files import merge
    from leaderboard.io.images import write_text

    if options.out and (options.out.is_dir() or not options.out.absolute().parent.is_dir()):
        raise InputError(f"--out {options.out}: is no file in a folder that exists: name a CSV to write")
    console = _console()
    with counted("measured", console, "methods") as progress:
        table, problems = measure_costs(
            options.methods,
            suite=options.config,
            cohort=options.cohort,
            format_name=options.format,
            size=options.size,
            settings=merge(*options.settings),
            progress=progress,
            tell=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    print_costs(table, console)
    if options.out:
        write_text(options.out, table.to_csv(index=False, lineterminator="\n"))
    if problems:
        raise InputError(problems)
    return 0


def _export_nnunet(options: argparse.Namespace) -> int:
    from benchmark.cohort.fold_json import read_folds
    from benchmark.commands.export_nnunet import export_nnunet
    from benchmark.commands.progress import counted
    from leaderboard.cohort.formats import read_cohort

    if not 1 <= options.number <= 999:
        raise InputError(f"--number {options.number}: nnU-Net's dataset ids go from 1 to 999")
    cohort = read_cohort(options.cohort, "training", options.format)
    folds = read_folds(options.folds, cohort, allow_leaky=options.allow_leaky_folds)
    if absent := len(folds.fold_of.keys() - {case.name for case in cohort.cases}):
        print(f"note: {options.folds} names {absent} cases that {options.cohort} does not hold", file=sys.stderr)
    with counted("exported", _console()) as progress:
        written = export_nnunet(cohort, folds, options.out, options.number, progress)
    print(f"Written to {written.raw / written.name}; train with")
    print(f"  export nnUNet_raw={written.raw.resolve()} nnUNet_preprocessed={written.preprocessed.resolve()}")
    print("  export nnUNet_results=...")
    print(f"  nnUNetv2_plan_and_preprocess -d {options.number}; nnUNetv2_train {options.number} 2d FOLD")
    return 0


def _folds(options: argparse.Namespace) -> int:
    from benchmark.commands.folds import write_folds
    from leaderboard.cohort.formats import read_cohort

    folds = write_folds(
        read_cohort(options.cohort, "training", options.format),
        options.out,
        source=options.folds,
        number=options.number,
        seed=options.seed,
        by_centre=options.by == "centre",
        allow_leaky=options.allow_leaky_folds,
    )
    print(f"{len(folds.fold_of)} cases in {len(set(folds.fold_of.values()))} folds written to {options.out}")
    return 0


def _job(options: argparse.Namespace) -> int:
    _require_training("benchmark job")
    started = time.monotonic()  # before torch is imported, which is the longest part of starting
    gc.disable()  # what is imported stays: to look for garbage in it, again and again, takes a second
    try:
        from benchmark.training.job import main as job
    finally:
        gc.freeze()
        gc.enable()
    return job(options.runs, started)


def _serve(options: argparse.Namespace) -> int:
    """What `benchmark.launchers.fork_server` starts: returns once in itself and once in each process that it forks."""
    from benchmark.launchers.fork_server import serve

    arguments = serve(options.connection, options.modules)
    return 0 if arguments is None else main(arguments)
