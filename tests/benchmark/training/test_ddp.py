"""Two processes train and predict what one does with the same global batch: every method, its loss, its normalisation.

Run as a script, this file is what the processes do.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import sync_norm
import torch
import yaml
from sync_norm import SyncBatchNorms, synchronise
from torch import Tensor, distributed, nn

from benchmark.methods.distributed import largest
from benchmark.methods.fcn3d_crf.loss import cross_entropy_and_soft_dice
from benchmark.methods.losses import focal, generalised_dice, weighted_cross_entropy
from benchmark.methods.ms_dcnn import loss as ms_dcnn
from benchmark.methods.ms_dcnn.network import DenseBlock
from benchmark.methods.multiscale_resnet.loss import multiscale_dice
from benchmark.methods.plain_unet.loss import deep_supervision
from benchmark.pipeline.datasets import collate, padded
from benchmark.suite.config import method_config, read_suite
from benchmark.suite.config_files import find_config, merge
from benchmark.training.loading import load, require_training
from leaderboard.errors import InputError

# ---- losses: two processes with half of the batch each ----------------------------------------------------------

#: Every loss of a method that is trained: logits (N, 2, ...), reference and valid (N, ...) -> scalar.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "generalised_dice": generalised_dice,
    "weighted_cross_entropy": lambda *batch: weighted_cross_entropy(*batch, 5.0),
    "focal": lambda x, *batch: focal(x[:, :1], *batch, alpha=0.75, gamma=2.0),
    "fcn3d_crf": lambda x, *batch: sum(cross_entropy_and_soft_dice(x[:, :1], *batch), torch.zeros(())),
    "ms_dcnn": lambda x, *batch: ms_dcnn.dice(x[:, :1], *batch),
    "ms_dcnn cross-entropy": lambda x, *batch: ms_dcnn.cross_entropy(x[:, :1], *batch),
    "multiscale_resnet": lambda x, *batch: multiscale_dice([x, x[:, :, ::2, ::2]], *batch, lesion_prior=0.1),
    "plain_unet 2D": lambda x, *batch: deep_supervision([x, x[:, :, ::2, ::2]], *batch, batch_dice=True)["loss"],
    "plain_unet 3D": lambda x, *batch: deep_supervision([x, x[:, :, ::2, ::2]], *batch, batch_dice=False)["loss"],
}


def unequal_samples() -> tuple[Tensor, Tensor, Tensor]:
    """Four samples with very different lesions, one of them none, and different padding."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 2, 8, 8, generator=generator)
    reference = (torch.rand(4, 8, 8, generator=generator) > torch.tensor([0.2, 0.9, 0.5, 1])[:, None, None]).byte()
    valid = torch.ones(4, 8, 8, dtype=torch.bool)
    valid[1, 4:] = valid[2, :, 6:] = False
    return logits, reference * valid, valid


def value_and_gradient(name: str, logits: Tensor, reference: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = LOSSES[name](logits, reference, valid)
    value.backward()
    assert logits.grad is not None
    return value.detach(), logits.grad


#: What normalises, the shape of the whole batch and its type.
NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], torch.dtype]] = {
    "2D": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6), torch.float32),
    "3D": (lambda: nn.BatchNorm3d(3), (4, 3, 2, 5, 6), torch.float32),
    "bfloat16": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6), torch.bfloat16),
    "mean of all batches": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 3, 5, 6), torch.float32),
    "without weights": (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 5, 6), torch.float32),
    # The second pass over a batch, in the backward pass, does not count for the running statistics.
    "computed again": (lambda: DenseBlock(3, 1, 0.0, checkpointed=True), (4, 3, 5, 6), torch.float32),
}


def normalised(norm: nn.Module, shape: tuple[int, ...], kind: torch.dtype, part: slice) -> dict[str, Tensor]:
    """What a batch normalisation gives for a part of the third of three batches, its gradients and its statistics."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in norm.parameters():
            weight.uniform_(0.5, 1.5)
    spread = torch.tensor([1.0, 5, 0.1]).view(3, *(1,) * (len(shape) - 2))
    for _ in range(3):
        x = (torch.randn(shape) * spread + 2).to(kind)[part].contiguous(memory_format=MEMORY[len(shape)])
        y = norm(x.requires_grad_())
        norm.zero_grad()
        (y.float() * torch.randn(shape[:1] + y.shape[1:])[part]).sum().backward()
    assert x.grad is not None
    gradients = {f"gradient of {name}": weight.grad for name, weight in norm.named_parameters()}
    return {"output": y.detach(), "gradient": x.grad, **gradients, **norm.state_dict()}


MEMORY = {4: torch.channels_last, 5: torch.channels_last_3d}
#: The first process has three of the four samples.
SHARES = (slice(0, 3), slice(3, 4))


def exchange(folder: Path, rank: int) -> None:
    """What each of two processes does with its part."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    half = slice(2 * rank, 2 * rank + 2)
    samples = [part[half] for part in unequal_samples()]
    found: dict[str, Any] = {name: value_and_gradient(name, *samples) for name in LOSSES}
    for name, (make, shape, kind) in NORMS.items():
        norm = make()
        synchronise(norm)
        found[name] = normalised(norm, shape, kind, SHARES[rank])
    found["largest"] = largest([3 + rank, 5 - rank], torch.device("cpu"))
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def with_support(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose processes find what tests share."""
    places = [str(Path(sync_norm.__file__).parent), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, places))}


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes found."""
    folder = tmp_path_factory.mktemp("exchange")
    command = [sys.executable, __file__, "exchange", str(folder)]
    running = [subprocess.Popen([*command, str(rank)], env=with_support(os.environ)) for rank in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_have_the_loss_and_the_gradient_of_one_with_both_their_batches(
    exchanged: list[dict[str, Any]], name: str
) -> None:
    value, gradient = value_and_gradient(name, *unequal_samples())
    # DistributedDataParallel takes the mean over the processes, of the gradient; Lightning of what is logged.
    torch.testing.assert_close(sum(half[name][0] for half in exchanged) / 2, value)
    torch.testing.assert_close(torch.cat([half[name][1] for half in exchanged]) / 2, gradient)


@pytest.mark.parametrize("name", NORMS)
def test_batch_normalisation_over_two_unequal_processes_is_that_of_the_whole_batch(
    exchanged: list[dict[str, Any]], name: str
) -> None:
    make, shape, kind = NORMS[name]
    whole = normalised(make(), shape, kind, slice(None))
    parts = [half[name] for half in exchanged]
    assert [list(part) for part in parts] == [list(whole)] * 2  # the same names in a checkpoint
    tolerance = 1e-5 if kind is torch.float32 else 1e-2
    for key, expected in whole.items():
        if key in ("output", "gradient"):
            found = torch.cat([part[key] for part in parts])
            assert found.is_contiguous(memory_format=MEMORY[len(shape)])
        elif key.startswith("gradient of"):
            found = parts[0][key] + parts[1][key]
        else:
            found = parts[0][key]
            assert torch.equal(found, parts[1][key])
        assert found.dtype == expected.dtype
        largest_error = float((found - expected).abs().max())
        assert largest_error <= tolerance * max(float(expected.abs().max()), 1e-3), key


def test_after_a_fit_the_normalisation_is_an_ordinary_one_with_the_same_weights() -> None:
    model, x = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sequential(nn.BatchNorm2d(3))), torch.randn(2, 2, 4, 4)
    plain = copy.deepcopy(model)
    synchronise(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(model(x), plain(x))
    assert torch.equal(model.eval()(x), model[1](model[0](x)))
    together = model.train()(x)
    SyncBatchNorms().revert(model)
    assert "forward" not in vars(model[1][0])
    plain(x)
    for before, after in zip(plain.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(after, before)
    torch.testing.assert_close(model(x), together)


def test_processes_agree_on_the_largest_of_each_size(exchanged: list[dict[str, Any]]) -> None:
    assert [half["largest"] for half in exchanged] == [[4, 5], [4, 5]]
    assert largest([3, 5], torch.device("cpu")) == [3, 5]


def test_padding_a_batch_once_more_is_padding_it_at_once() -> None:
    samples = [
        {"image": torch.randn(1, 2, depth, 4, 4), "reference": torch.ones(1, depth, 4, 4, dtype=torch.uint8)}
        for depth in (1, 2, 4)
    ]
    twice, once = padded(collate(samples[:2]), (4, 4, 4)), collate(samples)
    assert all(torch.equal(twice[name], once[name][:2]) for name in ("image", "reference", "valid"))


@pytest.mark.parametrize(
    ("devices", "synchronised", "fault"), [(2, True, "to 1, or sync_batchnorm to false"), (2, False, ""), (1, True, "")]
)
def test_several_cpu_processes_are_refused_where_their_normalisation_would_have_to_agree(
    tmp_path: Path, devices: int, synchronised: bool, fault: str
) -> None:
    trainer = {"accelerator": "cpu", "devices": devices, "max_epochs": 1, "sync_batchnorm": synchronised}
    config = method_config(read_suite(find_config("twin")), "residual_unet", {"trainer": trainer})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | {"data": {"cohort": str(tmp_path)}}))
    cli = load(tmp_path / "config.yaml", {"logger": False, "default_root_dir": str(tmp_path)})
    with pytest.raises(InputError, match=fault) if fault else contextlib.nullcontext():
        require_training(cli)


# ---- jobs -------------------------------------------------------------------------------------------------------

#: Methods with what their tests need beside the settings of the suite twin. No dropout: it differs between processes.
METHODS: dict[str, dict[str, Any]] = {
    "multiscale_resnet": {},
    "fcn3d_crf": {},
    "residual_unet": {},
    "ms_dcnn": {"model": {"init_args": {"dropouts": [0.0, 0.0]}}},
    "strokenet": {},
    "strokenet with batch norm": {"model": {"init_args": {"norm": "batch"}}},
    "plain_unet": {},
    "plain_unet_3d": {"model": {"init_args": {"stages": 4}}},
}
CASES = (17, 18, 20, 21)
#: All their slices, or all volumes, in one global batch: an epoch is a step. The volumes differ in depth.
SLICES, VOLUMES = 10, 4
PROCESSES = (1, 2)
#: Relative, of the losses of the first step and of the second.
TOLERANCES = (1e-5, 1e-3)


def job_config(name: str, run: Path, processes: int, cohort: Path, cache: Path) -> dict[str, Any]:
    """Two epochs on all cases, and the prediction of all; one method logs to W&B."""
    method = name.split()[0]
    together = VOLUMES if method in ("fcn3d_crf", "strokenet", "plain_unet_3d") else SLICES
    settings = {
        "trainer": {
            "accelerator": "cpu", "devices": processes, "precision": "32-true", "max_epochs": 2,
            "check_val_every_n_epoch": 2,
        },
        "data": {"cohort": str(cohort), "cache": str(cache), "batch_size": together // processes},
    }  # fmt: skip
    config = method_config(read_suite(find_config("twin")), method, merge(METHODS[name], settings))
    notes = {"method": name, "fold": 0, "wandb": method == "residual_unet", "checkpoint_every_n_epochs": 2}
    return config | {"seed_everything": 0, "suite": notes, "predictions": {"folder": str(run / "predictions")}}


def work(runs: Iterable[Path]) -> None:
    """What each process of jobs does; notes what it trained on and what it wrote."""
    from benchmark.pipeline.datasets import TrainingSamples
    from benchmark.training import callbacks, job, loading

    write, serve, defaults = callbacks.write_masks, TrainingSamples.plan, loading.trainer_defaults

    def defaults_with_norms() -> dict[str, Any]:
        found = defaults()
        return found | {"plugins": [*found["plugins"], SyncBatchNorms()]}

    loading.trainer_defaults = defaults_with_norms
    job.require_training = lambda cli: None  # which refuses what SyncBatchNorms can do
    for run in runs:
        notes = run / f"notes{os.environ.get('LOCAL_RANK', '0')}.txt"

        def noted_write(folder: Path, case: Any, *others: Any, notes: Path = notes) -> None:
            note(notes, "wrote", case.name)
            write(folder, case, *others)

        def noted_serve(samples: TrainingSamples, keys: Any, executor: Any, notes: Path = notes) -> Any:
            for key in keys:
                for index in key.slices or (None,):
                    note(notes, "served", key.epoch, key.case, index)
            return serve(samples, keys, executor)

        callbacks.write_masks, TrainingSamples.plan = noted_write, noted_serve  # type: ignore[method-assign]
        job.main([run])


def note(path: Path, *words: Any) -> None:
    with path.open("a") as file:
        print(*words, file=file)


def notes_of(run: Path, word: str) -> list[list[str]]:
    """What each process noted."""
    return [
        [line for line in path.read_text().splitlines() if line.startswith(word)]
        for path in sorted(run.glob("notes*.txt"))
    ]


@pytest.fixture(scope="module")
def runs(twin: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs of every method, done by one process and by two: ``<method>/processes<n>``."""
    root = tmp_path_factory.mktemp("runs")
    for number in CASES:
        shutil.copytree(twin / "TRAINING" / f"case_{number}", root / "cohort" / "TRAINING" / f"case_{number}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    environment = with_support(environment) | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    for processes in PROCESSES:
        folders = []
        for name in METHODS:
            folder = root / name / f"processes{processes}"
            config = job_config(name, folder, processes, root / "cohort", cache)
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            folders.append(str(folder))
        with (root / f"log{processes}.txt").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, __file__, "work", *folders],
                env=environment, cwd=root, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                assert process.wait(timeout=600) == 0
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # the second process, where the first is gone
    return root


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def masks(run: Path) -> dict[str, np.ndarray]:
    return {
        f"{path.parent.name}/{path.name}": np.asanyarray(nib.load(path).dataobj)
        for path in sorted(run.glob("predictions*/*.nii.gz"))
    }


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_and_predict_what_one_does_with_the_same_global_batch(runs: Path, method: str) -> None:
    one, two = (runs / method / f"processes{processes}" for processes in PROCESSES)
    for run, processes in ((one, 1), (two, 2)):
        state = json.loads((run / "state.json").read_text())
        assert state["status"] == "done", state
        assert json.loads((run / "provenance.json").read_text())["devices"] == processes

    # Together the processes trained on what the one did, half of it each.
    (served,), shares = notes_of(one, "served"), notes_of(two, "served")
    assert len({len(share) for share in shares}) == 1
    assert sorted(line for share in shares for line in share) == sorted(served)
    # Every case was predicted by one of them.
    (written,), shares = notes_of(one, "wrote"), notes_of(two, "wrote")
    assert sorted(written) == [f"wrote case_{number}" for number in CASES]
    assert sorted(line for share in shares for line in share) == sorted(written)
    assert [len(share) for share in shares] == [2, 2]

    first, second = rows(one), rows(two)
    assert [row["epoch"] for row in second] == [0, 1]
    # After a step, weights whose gradient is nothing but rounding differ: Adam goes the same length with them.
    for alone, together, tolerance in zip(first, second, TOLERANCES, strict=True):
        losses = [name for name in alone if name.startswith("train/")]
        assert [together[name] for name in losses] == pytest.approx([alone[name] for name in losses], rel=tolerance)
    expected, found = masks(one), masks(two)
    assert list(found) == list(expected)
    same = np.concatenate([(found[name] == expected[name]).ravel() for name in expected])
    assert same.mean() > 0.99


def test_wandb_and_the_console_hear_of_the_first_process_alone(runs: Path) -> None:
    assert len([path for path in runs.rglob("offline-run-*") if path.is_dir()]) == len(PROCESSES)
    said = (runs / "log2.txt").read_text()
    assert "rank: 0" in said.lower()
    assert "rank: 1" not in said.lower()
    assert "Traceback" not in said


if __name__ == "__main__":
    if sys.argv[1] == "exchange":
        exchange(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        work(map(Path, sys.argv[2:]))
