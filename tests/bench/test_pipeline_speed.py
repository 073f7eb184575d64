"""What of a training is not network: the suite's whole pipeline against the same steps on tensors in memory.

Each method is trained in a process of its own as the suite trains it: reading, augmentation, Lightning, logs. What is
timed are whole epochs over all training cases of a fold, the steady state, and passes over the batches that they
served; they take turns, so a busy moment meets both. The augmentation alone is timed beside TorchIO's own application.
ISLES_BENCH_METHODS chooses methods, ISLES_BENCH_SUITE another suite's settings; ISLES_BENCH_SIZE is the pixels a side
and ISLES_BENCH_CASES the number of cases of the twin (default: the suite's own, or 94 of 256 x 256).
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.machine.memory import keep_memory
from benchmark.suite.config import lacking, method_config, read_suite
from benchmark.suite.config_files import find_config, merge

pytestmark = pytest.mark.bench

SUITE = os.environ.get("ISLES_BENCH_SUITE", "twin")
METHODS = tuple(
    os.environ.get(
        "ISLES_BENCH_METHODS", "multiscale_resnet,fcn3d_crf,residual_unet,ms_dcnn,strokenet,plain_unet"
    ).split(",")
)
#: Epochs that are timed, after one that warms up.
ROUNDS = 3


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from benchmark.cohort.twin import write_twin

    folder = tmp_path_factory.mktemp("speed")
    own = read_suite(find_config(SUITE)).twin or {}
    cases = int(os.environ.get("ISLES_BENCH_CASES") or own.get("cases", 94))
    size = int(os.environ.get("ISLES_BENCH_SIZE") or own.get("size", 256))
    write_twin(folder / "cohort", cases=cases, size=size, seed=0)
    return folder / "cohort"


@pytest.fixture(scope="module")
def folds(cohort: Path) -> Path:
    """The suite's way to deal the cases out, for the cases at hand."""
    from benchmark.cohort.folds import folds_bytes, make_folds, measure_cohort
    from leaderboard.cohort.formats import read_cohort

    suite = read_suite(find_config(SUITE))
    path = cohort.parent / "folds.csv"
    path.write_bytes(folds_bytes(make_folds(measure_cohort(read_cohort(cohort, "training")), suite.folds_number, 0)))
    return path


def test_augmentation_beside_torchios_own_application(benchmark: Any, figure: Callable[..., None]) -> None:
    """Five images and two masks of 256 x 256 x 8 on one core, over the draws of twenty epochs."""
    import copy

    import numpy as np
    import torch
    import torchio as tio

    from benchmark.pipeline.augment import AUGMENTATION, Part, augmented, derive_seed, draw

    epochs, shape, spacing = 20, (256, 256, 8), (0.9, 0.9, 5.0)
    images = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    labels = (images[:1] > 1).byte()
    affine = np.diag([*spacing, 1.0])

    def theirs() -> None:
        for epoch in range(epochs):
            subject = tio.Subject(
                image=tio.ScalarImage(tensor=images, affine=affine), labels=tio.LabelMap(tensor=labels, affine=affine)
            )
            for place, transform in enumerate(AUGMENTATION.transforms):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(derive_seed(0, epoch, 1, place))
                    subject = copy.copy(transform)(subject)

    slices, masks = images.permute(3, 0, 2, 1).contiguous(), labels.permute(3, 0, 2, 1)[:, 0].contiguous()
    lowest = images.amin(dim=(1, 2, 3)).expand(8, -1)

    def ours() -> None:
        for epoch in range(epochs):
            drawn = draw(5, seed=0, epoch=epoch, case=1)
            field = drawn.noise.field(5, shape).permute(3, 0, 2, 1).contiguous() if drawn.noise else None
            augmented(slices, masks, lowest, [Part(8, drawn, spacing[:2], None, field)])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_memory()  # as jobs do
    try:
        seconds = {theirs: [], ours: []}
        for _ in range(ROUNDS):
            for way, times in seconds.items():
                started = time.perf_counter()
                way()
                times.append(time.perf_counter() - started)
        benchmark.pedantic(ours, rounds=1)
    finally:
        torch.set_num_threads(threads)
    median = {way.__name__: statistics.median(times) / epochs for way, times in seconds.items()}
    figure("augmentation of a case of 256 x 256 x 8, one core [ms]", 1000 * median["ours"], "")
    figure("TorchIO's own application / ours", median["theirs"] / median["ours"], ">= 5")


@pytest.mark.parametrize("method", METHODS)
def test_share_of_the_network_in_whole_epochs(
    method: str, cohort: Path, folds: Path, tmp_path: Path, benchmark: Any, figure: Callable[..., None]
) -> None:
    suite = read_suite(find_config(SUITE))
    config = merge(method_config(suite, method, {}), {"suite": {"threads": suite.threads}})
    if missing := lacking(config):
        pytest.skip(f"needs {missing}")
    data = {"cohort": str(cohort), "cache": str(cohort.parent / "cache"), "folds": str(folds), "seed": 0}
    config = merge(config, {"data": data})
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()

    def measure() -> dict[str, float]:
        process = context.Process(target=epochs_and_bare_steps, args=(config, tmp_path, queue))
        keep_memory()  # as jobs do
        process.start()
        process.join()
        assert process.exitcode == 0
        return queue.get()

    figures = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= figures
    figure(f"share of the network in an epoch, {method}", figures["share_of_the_network"], ">= 0.95")
    for view in ("slices", "volumes"):
        if view in figures:
            figure(f"{view}/s in training, {method}", figures[view], "")
    assert 0 < figures["share_of_the_network"] < 1.5


def epochs_and_bare_steps(config: dict[str, Any], folder: Path, queue: Any) -> None:
    """In a process of its own: train, and time every epoch and the bare steps on its batches."""
    import pytorch_lightning as pl
    import torch
    import yaml

    from benchmark.rundir.state import State, write_state
    from benchmark.training.callbacks import FiniteLoss, MetricsFile, ProgressReport
    from benchmark.training.loading import load, quiet_lightning, use_threads

    class Watch(pl.Callback):
        """Keeps an epoch's batches, and takes the same steps on them."""

        def __init__(self) -> None:
            self.batches: list[Any] = []
            self.full: list[float] = []
            self.bare: list[float] = []
            self.started = 0.0

        def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            self.batches = []
            synchronise()
            self.started = time.perf_counter()

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_index: int) -> None:
            self.batches.append(batch)

        def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            synchronise()
            self.full.append(time.perf_counter() - self.started)
            self.started = time.perf_counter()
            for batch in self.batches:
                bare_step(trainer, module, batch)
            synchronise()
            self.bare.append(time.perf_counter() - self.started)
            trainer.should_stop = len(self.full) > ROUNDS

    def synchronise() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def bare_step(trainer: Any, method: Any, batch: Any) -> None:
        optimizer = trainer.optimizers[0]
        with trainer.precision_plugin.forward_context():
            logits = method(batch["image"])
        method.loss(logits, batch)["loss"].backward()
        if trainer.gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(method.parameters(), trainer.gradient_clip_val)
        optimizer.step()
        optimizer.zero_grad()

    quiet_lightning()
    use_threads(config)
    pl.seed_everything(0, verbose=False)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_state(folder, State(inputs=""))
    watch = Watch()
    cli = load(
        folder / "config.yaml",
        {
            "logger": False,
            "callbacks": [ProgressReport(folder), MetricsFile(folder / "metrics.csv"), FiniteLoss(), watch],
            "enable_checkpointing": False,
            "default_root_dir": str(folder),
            "limit_val_batches": 0,
        },
        f"--trainer.max_epochs={max(ROUNDS + 1, config['trainer']['max_epochs'])}",
        "--trainer.devices=1",
        "--trainer.num_nodes=1",
    )
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    full, bare = statistics.median(watch.full[1:]), statistics.median(watch.bare[1:])
    steps = len(watch.batches)
    served = sum(len(batch["image"]) for batch in watch.batches)
    queue.put(
        {
            "share_of_the_network": round(bare / full, 3),
            cli.model.view: round(served / full, 1),
            "pipeline_ms_a_step": round(1000 * full / steps, 1),
            "network_ms_a_step": round(1000 * bare / steps, 1),
            "steps": steps,
            "precision": str(cli.trainer.precision),
        }
    )
