"""What of a training step is not network: the suite's whole pipeline against the same steps on tensors in memory.

Each method is trained in a process of its own as the default suite trains it: reading, augmentation, Lightning, logs.
Epochs of the pipeline and passes over the batches that they served take turns, so a busy moment meets both.
ISLES_BENCH_METHODS chooses methods, ISLES_BENCH_SUITE another suite's settings; ISLES_BENCH_SIZE is the pixels a side
(default: the suite's).
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

from benchmark.configs import find_config, merge
from benchmark.memory import children_keep_memory
from benchmark.suite import lacking, method_config, read_suite

pytestmark = pytest.mark.bench

SUITE = os.environ.get("ISLES_BENCH_SUITE", "twin")
METHODS = tuple(
    os.environ.get(
        "ISLES_BENCH_METHODS", "multiscale_resnet,fcn3d_crf,residual_unet,ms_dcnn,strokenet,plain_unet"
    ).split(",")
)
#: Epochs that are timed after one that warms up; steps in each; training cases.
ROUNDS, STEPS, CASES = 3, 6, 12


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from benchmark.cohort.twin import write_twin

    folder = tmp_path_factory.mktemp("speed")
    suites_own = read_suite(find_config(SUITE)).twin or {}
    size = int(os.environ.get("ISLES_BENCH_SIZE") or suites_own.get("size", 256))
    write_twin(folder / "cohort", cases=CASES, size=size, seed=0, jobs=1)
    return folder / "cohort"


@pytest.mark.parametrize("method", METHODS)
def test_share_of_the_network_in_a_training_step(
    method: str, cohort: Path, tmp_path: Path, benchmark: Any, figure: Callable[[str, float, str], None]
) -> None:
    suite = read_suite(find_config(SUITE))
    config = merge(method_config(suite, method, {}), {"suite": {"threads": suite.threads}})
    if missing := lacking(config):
        pytest.skip(f"needs {missing}")
    config = merge(config, {"data": {"cohort": str(cohort), "cache": str(cohort.parent / "cache"), "seed": 0}})
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()

    def measure() -> dict[str, float]:
        process = context.Process(target=epochs_and_bare_steps, args=(config, tmp_path, queue))
        with children_keep_memory():  # as jobs do
            process.start()
        process.join()
        assert process.exitcode == 0
        return queue.get()

    figures = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= figures
    figure(f"share of the network in a training step, {method}", figures["share_of_the_network"], ">= 0.90")
    assert 0 < figures["share_of_the_network"] < 1.5


def epochs_and_bare_steps(config: dict[str, Any], folder: Path, queue: Any) -> None:
    """In a process of its own: train, and time every epoch and the bare steps on its batches."""
    import pytorch_lightning as pl
    import torch
    import yaml

    from benchmark.callbacks import FiniteLoss, MetricsFile, ProgressReport
    from benchmark.loading import load, quiet_lightning, use_threads
    from benchmark.state import State, write_state

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
            "limit_train_batches": STEPS,
        },
        f"--trainer.max_epochs={ROUNDS + 1}",
        "--trainer.devices=1",
        "--trainer.num_nodes=1",
    )
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    full, bare = statistics.median(watch.full[1:]), statistics.median(watch.bare[1:])
    steps = len(watch.batches)
    assert 0 < steps <= STEPS
    queue.put(
        {
            "share_of_the_network": round(bare / full, 3),
            "pipeline_ms_a_step": round(1000 * full / steps, 1),
            "network_ms_a_step": round(1000 * bare / steps, 1),
            "steps": steps,
            "precision": str(cli.trainer.precision),
        }
    )
