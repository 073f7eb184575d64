"""nnU-Net v2 (2D) and our ``plain_unet``: same cohort, fold, machine, threads and minutes of training.

    pip install torch==2.13.0
    pip install -c constraints.txt -e '.[train]' nnunetv2==2.8.1
    python tools/peers/nnunet.py --minutes 10 --work runs/peers
    python tools/peers/nnunet.py --minutes 5 --device cuda --size 256 --cases 94 --work runs/peers-gpu

Writes a twin and its folds, exports them for nnU-Net, lets nnU-Net plan and preprocess, trains both, in float32 on the
CPU with one process each, or on a GPU: `plain_unet` in bfloat16 with the recipe of `configs/twin-full.yaml`, nnU-Net
with its own precision and its own loader processes as it comes. Scores both folders of validation masks with
``leaderboard score``, ranks them over the fold's cases, and prints a table. What is changed in nnU-Net:
`trainers/minutes.py`. What the commands say is in WORK/logs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.cases import read_cases, write_cases
from leaderboard.errors import InputError
from leaderboard.io.images import write_text
from leaderboard.shell import run_command

FOLD, DATASET = 0, 18
OURS, THEIRS = "plain_unet", "nnunet_2d"
TRAINER = "nnUNetTrainerMinutes"
#: Epochs that are measured before it is known how many fit.
MEASURED_EPOCHS = 3
NEVER = 10**6
NEEDED = ("torch", "yaml", "pytorch_lightning", "nnunetv2")
INSTALL = "pip install torch==2.13.0, then pip install -c constraints.txt -e '.[train]' nnunetv2==2.8.1"


@dataclass(frozen=True)
class Training:
    """How long a training was, and what it took."""

    method: str
    epochs: float
    steps: int
    batch_size: int
    seconds: float
    parameters: int

    @property
    def row(self) -> dict[str, float | int | str]:
        """Its row in the table."""
        return asdict(self) | {
            "minutes": self.seconds / 60,
            "steps_per_second": self.steps / self.seconds,
            "slices_per_second": self.steps * self.batch_size / self.seconds,
        }


class Work:
    """The folder of a comparison, and how commands are run in it.

    Args:
        folder: empty or new.
        threads: of every command; None leaves them alone.
    """

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.folder = folder.resolve()
        if self.folder.exists() and any(self.folder.iterdir()):
            raise InputError(f"{folder}: is not empty: give another --work, or remove it")
        (self.folder / "logs").mkdir(parents=True)
        nnunet = self.folder / "nnunet"
        names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        self.environment = os.environ | {name: str(nnunet / name) for name in names} | {
            "nnUNet_extTrainer": str(Path(__file__).resolve().parent / "trainers"),
        }  # fmt: skip
        if threads is not None:
            self.environment |= {"OMP_NUM_THREADS": str(threads), "nnUNet_def_n_proc": "1"}  # the latter for the export

    def run(self, name: str, *command: object, **environment: object) -> float:
        """Run a command, its output in logs/<name>.txt.

        Returns:
            Seconds it took.

        Raises:
            InputError: it is not installed, or failed.
        """
        program, *arguments = map(str, command)
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        found = shutil.which(program, path=places)
        if found is None:
            raise InputError(f"{program}: is not installed: {INSTALL}")
        log = self.folder / "logs" / f"{name}.txt"
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        with log.open("w", encoding="utf-8") as output:
            settings = self.environment | {key: str(value) for key, value in environment.items()}
            status = subprocess.run([found, *arguments], env=settings, stdout=output, stderr=subprocess.STDOUT)
        if status.returncode:
            raise InputError(f"{program}: failed with exit status {status.returncode}: see {log}")
        return time.monotonic() - started


def unusable() -> str:
    """What keeps nnU-Net from running here, in one line; else empty."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: {INSTALL}"
    try:
        import torchvision  # noqa: F401  (a requirement of nnU-Net's that loads only beside the same build of torch)
    except Exception as error:
        return f"torchvision does not load ({error}): install it from where torch came from, in the version for it"
    return ""


def suite_config(cases: int, size: int, threads: int | None, epochs: int) -> dict[str, Any]:
    """A suite with `plain_unet` alone, not validated while it trains.

    Args:
        cases: of the twin.
        size: pixels a side.
        threads: of the suite twin-64 in float32 on the CPU; None: the suite twin-full on a GPU.
        epochs: of the training.
    """
    from benchmark.suite.config_files import find_config, merge, read_yaml

    on_cpu = {"accelerator": "cpu", "precision": "32-true"}
    changes = {
        "name": "peers",
        "cohort": {"twin": {"cases": cases, "size": size}},
        "defaults": {"trainer": {**({} if threads is None else on_cpu), "check_val_every_n_epoch": NEVER}},
        "overrides": {OURS: {"trainer": {"max_epochs": epochs}}},
        "wandb": False,
    }
    suite = merge(read_yaml(find_config("twin-full" if threads is None else "twin-64")), changes)
    return suite | {"methods": [OURS]} | ({} if threads is None else {"threads": threads})


def train_ours(work: Work, name: str, config: Mapping[str, Any]) -> tuple[Training, Path]:
    """Train and predict fold 0 as a suite does; what it was, and the suite's folder (of cohort, folds and masks)."""
    import torch
    import yaml

    from benchmark.rundir.digests import read_provenance
    from benchmark.rundir.names import LAST
    from benchmark.suite.config_files import read_yaml

    path = work.folder / f"{name}.yaml"
    write_text(path, yaml.safe_dump(dict(config), sort_keys=False))
    work.run(name, "benchmark", "run", "--config", path, "--out", work.folder / name, "--folds", FOLD)
    suite = work.folder / name / str(config["name"])
    run = suite / OURS / f"fold{FOLD}"
    costs = read_provenance(run)["costs"]
    checkpoint = torch.load(run / LAST, weights_only=True)
    training = Training(
        method=OURS,
        epochs=read_yaml(run / "config.yaml")["trainer"]["max_epochs"],
        steps=int(checkpoint["global_step"]),
        batch_size=read_yaml(run / "config.yaml")["data"]["batch_size"],
        seconds=float(costs["fit_seconds"]),
        parameters=int(costs["parameters"]),
    )
    return training, suite


def train_theirs(work: Work, cohort: Path, folds: Path, minutes: float, threads: int | None) -> tuple[Training, Path]:
    """Export, plan, preprocess, train and validate; what the training was, and the folder of its masks."""
    work.run("export", "benchmark", "export-nnunet", cohort, work.folder / "nnunet", "--folds", folds)
    processes = () if threads is None else ("-np", threads, "-npfp", threads)
    work.run("nnunet_plan", "nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", "2d", *processes, "--no_pbar",
             "--verify_dataset_integrity")  # fmt: skip
    settings: dict[str, object] = {"PEERS_MINUTES": minutes}
    if threads is not None:
        # augmentation in the training's own process, as ours is; planning does not take the 0
        settings |= {"PEERS_THREADS": threads, "nnUNet_n_proc_DA": 0}
    device = "cuda" if threads is None else "cpu"
    work.run("nnunet_train", "nnUNetv2_train", DATASET, "2d", FOLD, "-tr", TRAINER, "-device", device, **settings)
    (run,) = (work.folder / "nnunet" / "nnUNet_results").glob(f"*/{TRAINER}__*/fold_{FOLD}")
    record = json.loads((run / "minutes.json").read_text(encoding="utf-8"))
    fields = {name: record[name] for name in ("epochs", "steps", "batch_size", "seconds", "parameters")}
    return Training(method=THEIRS, **fields), run / "validation"


def rank(work: Work, cohort: Path, folds: Path, predictions: Mapping[str, Path]) -> pd.DataFrame:
    """Both scored as they come, and ranked over the cases of the fold alone; leaderboard.csv, by method."""
    tables = []
    for method, folder in predictions.items():
        scores = work.folder / "scores" / f"{method}.csv"
        work.run(f"score_{method}", "leaderboard", "score", "--cohort", cohort, "--predictions", folder,
                 "--method", method, "--folds", folds, "--out", scores)  # fmt: skip
        cases = read_cases(scores)
        tables.append(scores.with_name(f"{method}_fold{FOLD}.csv"))
        write_cases(tables[-1], cases[cases["fold"] == FOLD])
    board = work.folder / "leaderboard.csv"
    work.run("rank", "leaderboard", "rank", *tables, "--out", board)
    return pd.read_csv(board).set_index("method")


def table(trainings: Sequence[Training], board: pd.DataFrame) -> str:
    """Markdown: one row for each method."""
    lines = [
        "| method | parameters | epochs | steps | slices a step | minutes | steps/s | slices/s | mean Dice (SD) "
        "| 95 % set of ranks |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for training in trainings:
        row, scores = training.row, board.loc[training.method]
        low, high = (int(board[column].loc[training.method]) for column in ("rank_low", "rank_high"))
        lines.append(
            f"| {training.method} | {training.parameters / 1e6:.1f} M | {training.epochs:.1f} | {training.steps} "
            f"| {training.batch_size} | {row['minutes']:.1f} | {row['steps_per_second']:.2f} "
            f"| {row['slices_per_second']:.1f} | {scores['dice_mean']:.3f} ({scores['dice_sd']:.3f}) "
            f"| {low if low == high else f'{low}-{high}'} |"
        )
    return "\n".join(lines)


def compare(options: argparse.Namespace) -> int:
    """Do all of it; the table is printed, and written to WORK/peers.md and with the figures to WORK/peers.json.

    Raises:
        InputError: something is missing, or failed.
    """
    if fault := unusable():
        raise InputError(fault)
    if options.minutes <= 0 or options.threads < 1:
        raise InputError("--minutes must be above 0, and --threads at least 1")
    threads = None if options.device == "cuda" else options.threads
    work = Work(options.work, threads)

    def config(epochs: int) -> dict[str, Any]:
        return suite_config(options.cases, options.size, threads, epochs)

    measured, _ = train_ours(work, "measure", config(MEASURED_EPOCHS))
    epochs = max(1, round(60 * options.minutes / (measured.seconds / MEASURED_EPOCHS)))
    ours, suite = train_ours(work, "ours", config(epochs))
    cohort, folds = suite / "cohort", suite / "folds.csv"
    # what our epochs took in the end, so that both have the same time
    theirs, their_masks = train_theirs(work, cohort, folds, ours.seconds / 60, threads)
    our_masks = suite / OURS / f"fold{FOLD}" / "predictions"
    board = rank(work, cohort, folds, {THEIRS: their_masks, OURS: our_masks})
    text = table([theirs, ours], board)
    versions = {name: metadata.version(name) for name in ("isles-benchmark", "nnunetv2", "torch")}
    record = {"trainings": [theirs.row, ours.row], "versions": versions, "device": options.device, "threads": threads}
    write_text(work.folder / "peers.json", json.dumps(record, indent=1) + "\n")
    write_text(work.folder / "peers.md", text + "\n")
    print(text)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, each (default: 10)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="for both (default: cpu)")
    parser.add_argument("--threads", type=int, default=1, help="of each training on the CPU (default: 1)")
    parser.add_argument("--cases", type=int, default=80, help="of the twin (default: 80)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"), help="folder to write (default: runs/peers)")
    parser.set_defaults(command=compare)
    return run_command("nnunet.py", lambda: parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
