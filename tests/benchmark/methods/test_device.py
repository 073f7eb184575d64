"""Every method stays on its device, proven without a GPU.

torch's ``meta`` device has no values: an operation on tensors of both ``meta`` and the CPU raises as one on CUDA and
the CPU does, and so does every question for a value (`.item()`, `.tolist()`, a condition), which waits for a GPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.methods.base import Method, RuleMethod
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datasets import TrainingSamples, WholeCases
from benchmark.pipeline.sampling import Key
from benchmark.pipeline.store import Store
from benchmark.suite.config import lacking, method_config, read_suite
from benchmark.suite.config_files import find_config, merge, shipped_configs
from leaderboard.cohort.formats import FORMATS, Cohort, isles2018

META = torch.device("meta")
CONFIGS = sorted((shipped_configs() / "methods").glob("*.yaml"))
#: Settings beside a method's own, each a further case: what the default suite changes, and what is off by default.
FURTHER: dict[str, list[dict[str, Any]]] = {
    "multiscale_resnet": [{"pixel_mm": None, "size": None}, {"slice_mm": 5.0}],
    "ms_dcnn": [{"size": None, "add_cross_entropy": True}, {"checkpoint_blocks": True}],
    "residual_unet": [{"pixel_mm": 3.0, "size": 64}],
    "strokenet": [{"norm": "batch"}, {"pixel_mm": 15.0, "size": 32}],  # pixels of the tests' slices: 7 mm
    "plain_unet": [{"mirror": False, "stages": 5}, {"pixel_mm": 3.0, "size": 64}],
}
_CONV = {"in_channels": 5, "out_channels": 2, "kernel_size": 3, "padding": 1}
#: Networks named in a config, without a file of their own.
NAMED: dict[str, dict[str, Any]] = {
    "any_2d": {"network": {"class_path": "torch.nn.Conv2d", "init_args": _CONV}, "loss": "focal"},
    "any_3d": {
        "network": {"class_path": "torch.nn.Conv3d", "init_args": _CONV},
        "loss": {"class_path": "torch.nn.BCEWithLogitsLoss"},
        "view": "volumes",
        "multiple": 16,
        "slice_multiple": 4,
    },
}
CASES = [(path.stem, {}) for path in CONFIGS] + [(name, init) for name in FURTHER for init in FURTHER[name]]
CASES += [(name, {}) for name in NAMED]
#: Slices of 32 x 32 are too small for all stages; three hold all layers.
SMALL = {
    "plain_unet": {"stages": 5}, "plain_unet_3d": {"stages": 4},
    "resenc_unet": {"stages": 3}, "resenc_unet_3d": {"stages": 3},
}  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[1]) or 'own'}")
def method(request: pytest.FixtureRequest, cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch) -> Method:
    """A method on the meta device, in a training that is as far as a fifth of its epochs."""
    name, init = request.param
    return on_meta(name, init, cached, monkeypatch)


def on_meta(name: str, init: dict[str, Any], cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch) -> Method:
    if name in NAMED:
        config: dict[str, Any] = {"model": {"class_path": "benchmark.methods.Any", "init_args": NAMED[name]}}
    else:
        config = yaml.safe_load((shipped_configs() / "methods" / f"{name}.yaml").read_text())
    if lacks := lacking(config):
        pytest.skip(f"needs {', '.join(lacks)}")
    module, _, kind = config["model"]["class_path"].rpartition(".")
    settings = merge(config["model"].get("init_args", {}), SMALL.get(name, {}), init)
    made: Method = getattr(importlib.import_module(module), kind)(**settings)
    data = SimpleNamespace(
        held_out=cached, channels=5, background_per_lesion=60.0, seed=0, augmented=True,
        cohort=Cohort(Path("cohort"), FORMATS["isles2018"], "training", isles2018.FORMAT.images, ()),
    )  # fmt: skip
    made.trainer = SimpleNamespace(  # type: ignore[assignment]
        datamodule=data, max_epochs=10, current_epoch=2, global_step=7, is_last_batch=True, precision="32-true",
        optimizers=[SimpleNamespace(param_groups=[{"lr": 1e-3}])], global_rank=0, barebones=False,
        strategy=SimpleNamespace(root_device=META),
    )  # fmt: skip
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for meta
    monkeypatch.setattr(made, "log", lambda *_, **__: None)
    monkeypatch.setattr(made, "log_dict", lambda *_, **__: None)
    for where in {"benchmark.methods.base", type(made).__module__}:
        if hasattr(importlib.import_module(where), "on_host"):
            monkeypatch.setattr(f"{where}.on_host", lambda _, first, *rest: torch.empty_like(first))
    if isinstance(made, RuleMethod) and set(made.maps) <= set(data.cohort.shows):
        made.setup("predict")
    with META:
        made.configure_model()
    return made.to(META)


def keys(view: str, epoch: int) -> list[Key]:
    if view == "slices":
        return [Key(epoch, 0, (3, 0)), Key(epoch, 20, (1,)), Key(epoch, 12, (0,))]
    return [Key(epoch, 0), Key(epoch, 20)]


def tensors(batch: dict[str, Any]) -> Iterator[torch.Tensor]:
    return (value for value in batch.values() if isinstance(value, torch.Tensor))


def test_a_training_step_stays_on_the_device(method: Method, cached: list[CachedCase]) -> None:
    if isinstance(method, RuleMethod):
        pytest.skip("has no training step")
    samples = TrainingSamples(Store(cached, META, resident=True), method.view_of(10), seed=0)
    method.train()
    stages = {method.curriculum(10)(epoch): epoch for epoch in range(10)}  # an epoch of each
    for epoch in stages.values():
        method.trainer.current_epoch = epoch  # type: ignore[misc]
        batch = samples[keys(method.view, epoch)]
        assert {tensor.device.type for tensor in tensors(batch)} == {"meta"}
        method.on_train_epoch_start()
        method.on_train_batch_start(batch, 0)
        loss = method.training_step(batch, 0)
        assert loss.device == META
        loss.backward()
        method.configure_gradient_clipping(None, 1.0)  # type: ignore[arg-type]
    assert all(p.grad is not None for p in method.network.parameters())


#: Operations that torch has no deterministic form of on CUDA (see `torch.use_deterministic_algorithms`), as far as a
#: network or a loss may come to use them. `nll_loss2d_forward` is one where it takes a mean or a sum.
WITHOUT_A_DETERMINISTIC_FORM = {
    f"aten::{name}"
    for name in (
        "upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward",
        "upsample_trilinear3d_backward", "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward",
        "max_pool3d_with_indices_backward", "avg_pool3d_backward", "_adaptive_avg_pool2d_backward",
        "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward", "fractional_max_pool2d_backward",
        "fractional_max_pool3d_backward", "reflection_pad1d_backward", "reflection_pad2d_backward",
        "reflection_pad3d_backward", "replication_pad1d_backward", "replication_pad2d_backward",
        "replication_pad3d_backward", "grid_sampler_2d_backward", "grid_sampler_3d_backward", "cumsum", "histc",
        "bincount", "kthvalue", "median", "put_", "scatter_reduce", "embedding_bag",
    )
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Notes the operations that are called, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.undetermined: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        summed = name == "aten::nll_loss2d_forward" and args[3] != 0
        if summed or name in WITHOUT_A_DETERMINISTIC_FORM:
            self.undetermined.add(name)
        return func(*args, **(kwargs or {}))


def test_no_step_needs_an_operation_without_a_deterministic_form_on_cuda(
    method: Method, cached: list[CachedCase]
) -> None:
    if isinstance(method, RuleMethod):
        pytest.skip("has no training step")
    store = Store(cached, META, resident=True)
    with Operations() as operations:
        batch = TrainingSamples(store, method.view_of(10), seed=0)[keys(method.view, 9)]
        method.train().training_step(batch, 0).backward()
        method.eval()
        with torch.no_grad():
            method.predict_step(WholeCases(store, method.view_of(10))[0], 0)
    assert not operations.undetermined


def test_such_an_operation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: False)  # a trainer may have been here
    x = torch.randn(1, 2, 4, 4, device=META, requires_grad=True)
    target = torch.zeros(1, 4, 4, device=META, dtype=torch.int64)
    with Operations() as operations:
        functional.interpolate(x, scale_factor=2, mode="bilinear").sum().backward()
        functional.cross_entropy(x, target, reduction="none")
    assert operations.undetermined == {"aten::upsample_bilinear2d_backward"}
    with Operations() as operations:
        functional.cross_entropy(x, target)
    assert operations.undetermined == {"aten::nll_loss2d_forward"}


def test_validation_and_prediction_stay_on_the_device_and_on_the_cases_grid(
    method: Method, cached: list[CachedCase]
) -> None:
    whole = WholeCases(Store(cached, META, resident=True), method.view_of(10))
    method.eval()
    for place in (0, 20):
        with torch.inference_mode():
            method.validation_step(whole[place], 0)
            masks = method.predict_step(whole[place], 0)["masks"]
        assert set(masks) == {"", *method.ablations}
        for mask in masks.values():
            assert mask.device == META
            assert mask.shape == cached[place].brain.shape
            assert mask.dtype == torch.bool


def test_what_a_rule_is_fitted_on_leaves_the_device_where_steps_do(
    cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule: Any = on_meta("perfusion_tfit", {}, cached, monkeypatch)

    def zeros(*tensors: torch.Tensor) -> list[np.ndarray]:
        return [torch.zeros(tensor.shape, dtype=tensor.dtype).numpy() for tensor in tensors]

    monkeypatch.setattr("benchmark.methods.perfusion_threshold.module.to_host", zeros)
    rule.fit_case(WholeCases(Store(cached, META, resident=False), rule.view_of(1))[0])
    assert rule.cases == 1


@pytest.mark.parametrize("name", ["residual_unet", "multiscale_resnet", "ms_dcnn", "plain_unet"])
def test_an_index_made_on_the_cpu_is_noticed(
    name: str, cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault that stopped all 2D networks on their first GPU."""

    def broken(image: torch.Tensor, slices: torch.Tensor, neighbours: int) -> torch.Tensor:
        offsets = torch.arange(-neighbours, neighbours + 1)
        indices = (slices[:, None] + offsets[None, :]).clamp(0, image.shape[1] - 1)
        return image[:, indices].permute(1, 2, 0, 3, 4).flatten(1, 2)

    monkeypatch.setattr("benchmark.methods.base.with_neighbours", broken)
    method = on_meta(name, {}, cached, monkeypatch).eval()
    item = WholeCases(Store(cached, META, resident=True), method.view_of(10))[0]
    with torch.inference_mode(), pytest.raises(RuntimeError, match="device"):
        method.predict_step(item, 0)


def test_cpu_and_meta_give_the_same_shapes(cached: list[CachedCase]) -> None:
    for name in ("multiscale_resnet", "strokenet"):
        suite = read_suite(find_config("isles2018"))
        config = method_config(suite, name, {})
        module, _, kind = config["model"]["class_path"].rpartition(".")
        view = getattr(importlib.import_module(module), kind)(**config["model"]["init_args"]).view_of(10)
        for epoch in range(10):
            shapes = [
                {key: (value.shape, value.dtype) for key, value in TrainingSamples(store, view, 0)[batch].items()}
                for store in (Store(cached, torch.device("cpu")), Store(cached, META, resident=True))
                for batch in [keys(view.view, epoch)]
            ]
            assert shapes[0] == shapes[1]
