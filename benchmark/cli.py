"""The ``benchmark`` command: its arguments; what is done with them, `benchmark.commands.handlers` says."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.commands import handlers
from benchmark.commands.releases import RELEASES
from benchmark.launchers import LAUNCHERS
from leaderboard.cohort.formats import FORMATS
from leaderboard.command_line import Parser
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
        return argparse.Namespace(command=handlers.lightning_command, arguments=arguments, interrupted=_INTERRUPTED)
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
    run.add_argument("--seeds", type=_numbers, help="only these of the suite's training seeds: 0,1")
    run.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help="where jobs run (default: local, this machine); docs/slurm.md",
    )
    _add_settings(run, "change a setting of every job: --set trainer.max_epochs=1")
    run.add_argument("--allow-leaky-folds", action="store_true", help="accept folds that split a patient")
    run.add_argument("--restart-changed", action="store_true", help="do jobs again whose inputs changed")
    run.set_defaults(command=handlers.run_command)

    cancel = commands.add_parser("cancel", help="end a suite's jobs on a cluster; the next run takes them up again")
    cancel.add_argument("--config", required=True, help="suite config, as for run")
    cancel.add_argument("--out", type=Path, default=Path("runs"), help="folder above the suite's (default: runs)")
    cancel.add_argument("--methods", type=_names, help="only these methods: a,b")
    cancel.add_argument("--folds", type=_numbers, help="only these folds: 0,1")
    cancel.add_argument("--seeds", type=_numbers, help="only these training seeds: 0,1")
    cancel.set_defaults(command=handlers.cancel_command)

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
    twin.set_defaults(command=handlers.twin_command)

    check = commands.add_parser("check", help="is this cohort sound?")
    check.add_argument("cohort", type=Path, metavar="COHORT", help="(or --cohort COHORT) folder of the cases")
    check.first = ("--cohort",)
    check.add_argument("--partition", choices=["training", "testing"], help="default: both")
    _add_format(check)
    check.set_defaults(command=handlers.check_command)

    fetch = commands.add_parser("fetch", help="a public release: downloaded, checked and unpacked; continues")
    fetch.add_argument("release", choices=RELEASES, metavar="RELEASE", help=f"{', '.join(RELEASES)}")
    fetch.add_argument("folder", type=Path, metavar="DIR", help="(or --out DIR) new or empty folder to write")
    fetch.last = ("--out",)
    fetch.add_argument("--yes", action="store_true", help="do not ask: size and licence are as they should be")
    fetch.set_defaults(command=handlers.fetch_command)

    predict = commands.add_parser("predict-cohort", help="predictions for new cases, named for submission")
    predict.add_argument(
        "--run", type=Path, required=True, help="run directory of a finished job: .../<method>/fold<k>[/seed<s>]"
    )
    predict.add_argument("--cohort", type=Path, required=True, help="folder of the cases")
    _add_format(predict)
    predict.add_argument("--out", type=Path, required=True, help="folder to write, or a .zip to submit")
    predict.add_argument("--partition", choices=["training", "testing"], help="default: testing where it is there")
    predict.add_argument("--name", help="free part of the file names (default: the method's name)")
    predict.add_argument(
        "--probabilities", action="store_true", help="write the probability maps too, beside --out: OUT_probabilities"
    )
    _add_trust(predict)
    predict.set_defaults(command=handlers.predict_cohort_command)

    verify = commands.add_parser("verify", help="does a finished job give the same bytes again?")
    verify.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="(or --run RUN) run directory of a finished job: .../<method>/fold<k>[/seed<s>]",
    )
    verify.first = ("--run",)
    verify.add_argument("--retrain", action="store_true", help="train again too, instead of predicting alone")
    _add_trust(verify)
    verify.set_defaults(command=handlers.verify_command)

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
    _add_settings(sanity, "change a setting: --set data.batch_size=8")
    sanity.set_defaults(command=handlers.sanity_command)

    cost = commands.add_parser("cost", help="weights, multiplications, memory and seconds of each method for one case")
    cost.add_argument(
        "--config", default="isles2018", help="suite whose settings the methods take (default: isles2018)"
    )
    cost.add_argument("--methods", type=_names, help="only these methods: a,b")
    cost.add_argument("--cohort", type=Path, help="take its first case (default: a synthetic one of 8 slices)")
    _add_format(cost)
    cost.add_argument("--size", type=int, default=256, help="pixels a side of the synthetic case (default: 256)")
    cost.add_argument("--out", type=Path, help="CSV to write")
    _add_settings(cost, "change a setting of every method: --set trainer.precision=32-true")
    cost.set_defaults(command=handlers.cost_command)

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
    nnunet.set_defaults(command=handlers.export_nnunet_command)

    folds = commands.add_parser("folds", help="a cohort's folds as our CSV, nnU-Net's splits or a datalist of MONAI")
    folds.add_argument("cohort", type=Path, metavar="COHORT", help="(or --cohort COHORT) folder of the cases")
    folds.first = ("--cohort",)
    _add_format(folds)
    folds.add_argument(
        "--out", type=Path, required=True, help=".csv, splits_final.json (nnU-Net's) or another .json (MONAI's)"
    )
    source = folds.add_mutually_exclusive_group()
    source.add_argument("--folds", type=Path, help="file to convert, of any of the three kinds (default: make folds)")
    source.add_argument("--number", type=int, help="how many are made (default: 5)")
    source.add_argument("--by", choices=["centre"], help="make each centre a fold")
    folds.add_argument("--seed", type=int, default=0, help="the suite's (default: 0)")
    folds.add_argument("--allow-leaky-folds", action="store_true", help="accept a file that splits a patient")
    folds.set_defaults(command=handlers.folds_command)

    commands.add_parser("fit", help="LightningCLI for one method: benchmark fit --help", add_help=False)
    commands.add_parser("predict", help="LightningCLI for one method: benchmark predict --help", add_help=False)

    job = commands.add_parser("job", help="one job of a suite, from its run directory (what `run` starts)")
    job.add_argument(
        "runs", type=Path, metavar="RUN", nargs="+", help="run directory with a config.yaml; of several, one by one"
    )
    job.set_defaults(command=handlers.job_command)

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
        return tuple(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers: give some, as in 0,1") from None


def _setting(text: str) -> dict[str, Any]:
    """``trainer.max_epochs=1`` -> {"trainer": {"max_epochs": 1}}."""
    from leaderboard.io.plain_yaml import parse_yaml

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


def _add_format(parser: Parser) -> None:
    parser.add_argument("--format", choices=FORMATS, help="of the cohort (default: what its tree looks like)")


def _add_settings(parser: Parser, words: str) -> None:
    parser.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", dest="settings", help=words
    )


def _add_trust(parser: Parser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load own methods and whatever else its config names: may run code",
    )


def _serve(options: argparse.Namespace) -> int:
    """What `benchmark.launchers.fork_server` starts: returns once in itself and once in each process that it forks."""
    from benchmark.launchers.fork_server import serve

    arguments = serve(options.connection, options.modules)
    return 0 if arguments is None else main(arguments)
