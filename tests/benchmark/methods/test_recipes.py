"""The methods' recipes against the specification: losses, schedules and settings, not the networks."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from benchmark.cli import main
from benchmark.methods.ms_dcnn.module import MSDCNNMethod
from benchmark.methods.ms_dcnn.network import MSDCNN
from benchmark.methods.residual_unet.module import ResidualUNetMethod
from benchmark.methods.strokenet.module import StrokeNetMethod
from benchmark.methods.strokenet.network import Refinement, group_norm
from benchmark.suite.config_files import merge, read_yaml, shipped_configs
from benchmark.training.loading import load
from leaderboard.errors import InputError

#: Of methods.md: epochs, batch, norm that gradients are clipped to, least share of slices with lesion.
RECIPES: dict[str, tuple[int, int, float | None, float | None]] = {
    "multiscale_resnet": (200, 16, None, 0.5),
    "fcn3d_crf": (300, 1, 1.0, None),
    "residual_unet": (120, 16, None, 0.5),
    "ms_dcnn": (70, 4, None, 0.5),
    "strokenet": (300, 2, 1.0, None),
    "plain_unet": (250, 16, 12.0, 0.33),
    "plain_unet_3d": (250, 2, 12.0, None),
}


@pytest.mark.parametrize("method", RECIPES)
def test_the_shipped_config_has_the_specified_recipe(method: str) -> None:
    config = read_yaml(shipped_configs() / "methods" / f"{method}.yaml")
    found = (
        config["trainer"]["max_epochs"],
        config["data"]["batch_size"],
        config["trainer"].get("gradient_clip_val"),
        config["data"].get("lesion_fraction"),
    )
    assert found == RECIPES[method]


def running(method: Any, epoch: int = 0, epochs: int = 1, steps: int = 1, **data: Any) -> Any:
    """The method as in a training."""
    method._trainer = SimpleNamespace(
        current_epoch=epoch, max_epochs=epochs, estimated_stepping_batches=steps, datamodule=SimpleNamespace(**data)
    )
    return method


def batch_of(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    reference = torch.zeros(shape)
    reference[..., 2:5, 3:7] = 1
    valid = torch.ones(shape, dtype=torch.bool)
    valid[-1, 0] = False
    return {"reference": reference, "valid": valid}


@pytest.mark.parametrize(("epoch", "gamma"), [(1, 0.0), (5, 1.0), (9, 2.0)])
def test_strokenets_loss_is_the_focal_loss_with_the_curriculums_gamma(epoch: int, gamma: float) -> None:
    torch.manual_seed(0)
    batch = batch_of((2, 3, 8, 8))
    logits = torch.randn(2, 1, 3, 8, 8)
    loss = running(StrokeNetMethod(), epoch, 10).loss(logits, batch)["loss"].item()
    p = 1 / (1 + np.exp(-logits[:, 0].double().numpy()))
    g, inside = batch["reference"].numpy(), batch["valid"].numpy()
    of_lesion = -0.75 * (1 - p) ** gamma * np.log(p) * g
    of_background = -0.25 * p**gamma * np.log(1 - p) * (1 - g)
    expected = ((of_lesion + of_background) * inside).sum() / (g * inside).sum()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_strokenets_learning_rate_falls_with_the_power_of_nine_tenths() -> None:
    method = running(StrokeNetMethod(), steps=100)
    method.network = nn.Linear(1, 1)
    recipe = method.configure_optimizers()
    (factor,) = recipe["lr_scheduler"]["scheduler"].lr_lambdas
    assert type(recipe["optimizer"]) is torch.optim.Adam
    assert recipe["optimizer"].defaults["lr"] == 1e-3
    assert (factor(0), factor(50), factor(100)) == pytest.approx((1.0, 0.5**0.9, 0.0))


def test_strokenets_context_looks_three_ways_in_plane_and_one_through_the_slices() -> None:
    branches = [branch[0] for branch in Refinement(32, group_norm).context]
    assert [(conv.kernel_size, conv.dilation) for conv in branches] == [
        ((1, 3, 3), (1, 1, 1)), ((1, 3, 3), (1, 2, 2)), ((1, 3, 3), (1, 4, 4)), ((3, 1, 1), (1, 1, 1)),
    ]  # fmt: skip
    assert {conv.out_channels for conv in branches} == {16}


def test_a_refinement_is_put_together_as_the_specification_says() -> None:
    torch.manual_seed(0)
    refinement = Refinement(32, group_norm).eval()
    feature, coarser = torch.randn(1, 32, 2, 8, 8), torch.randn(1, 64, 2, 4, 4)
    with torch.no_grad():
        x = refinement.reduce(feature) + nn.functional.interpolate(
            coarser, size=(2, 8, 8), mode="trilinear", align_corners=False
        )
        x = refinement.local(x)
        context = refinement.merge(torch.cat([branch(x) for branch in refinement.context], dim=1))
        expected = refinement.output(torch.relu(x + context))
        assert torch.allclose(refinement(feature, coarser), expected)
        assert not torch.allclose(refinement(feature, None), expected)
        # Each part of it counts.
        for part in (refinement.local, refinement.merge, refinement.output, *refinement.context):
            weight = next(part.parameters())
            kept = weight.clone()
            weight.zero_()
            assert not torch.allclose(refinement(feature, coarser), expected)
            weight.copy_(kept)


def test_the_three_stages_of_the_curriculum_are_logged(twin: Path, tmp_path: Path) -> None:
    for number in (18, 19, 20, 21):
        shutil.copytree(twin / "TRAINING" / f"case_{number}", tmp_path / "tree" / "TRAINING" / f"case_{number}")
    suite = {
        "name": "s", "folds": {"number": 2}, "methods": ["strokenet"], "wandb": False,
        "defaults": {"trainer": {"accelerator": "cpu", "limit_val_batches": 0}},
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(suite))
    arguments = ["--config", str(tmp_path / "s.yaml"), "--cohort", str(tmp_path / "tree"), "--out", str(tmp_path)]
    assert main(["run", *arguments, "--folds", "0", "--set", "trainer.max_epochs=10"]) == 0
    with (tmp_path / "s" / "strokenet" / "fold0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["curriculum/stage"]) for row in rows] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    gammas = [float(row["curriculum/gamma"]) for row in rows]
    assert gammas == pytest.approx([0, 0, 0, 0, 0.5, 1, 1.5, 2, 2, 2], abs=1e-6)


def test_residual_unets_loss_is_weighted_cross_entropy_plus_generalised_dice_by_hand() -> None:
    torch.manual_seed(0)
    batch, logits = batch_of((2, 16, 20)), torch.randn(2, 2, 16, 20)
    terms = running(ResidualUNetMethod(), background_per_lesion=16.0).loss(logits, batch)
    p = logits.double().softmax(dim=1).numpy()
    g, inside = batch["reference"].numpy(), batch["valid"].numpy()
    near = np.zeros_like(g)
    near[:, :8, :10] = 1  # the lesion, rows 2 to 4 and columns 3 to 6, with a margin of 3 pixels
    weights = (1 + 3 * near) * inside  # the root of 16 is 4
    entropy = (weights * -np.log(np.where(g == 1, p[:, 1], p[:, 0]))).sum() / weights.sum()
    voxels = inside.sum()
    numerator = denominator = 1e-6
    for r, q in ((g, p[:, 1]), (1 - g, p[:, 0])):
        weight = 1 / max((r * inside).sum() / voxels, 1e-3) ** 2
        numerator += 2 * weight * (r * q * inside).sum() / voxels
        denominator += weight * ((r + q) * inside).sum() / voxels
    assert terms["weighted_cross_entropy"].item() == pytest.approx(entropy, rel=1e-5)
    assert terms["generalised_dice"].item() == pytest.approx(1 - numerator / denominator, rel=1e-5)
    assert terms["loss"].item() == pytest.approx(entropy + 1 - numerator / denominator, rel=1e-5)


@pytest.mark.parametrize(("epochs", "warm"), [(120, 5 / 120), (4, 0.5)])
def test_residual_unet_warms_up_for_five_epochs_at_most_half_of_them(epochs: int, warm: float) -> None:
    method = running(ResidualUNetMethod(), epochs=epochs, steps=1200)
    method.network = nn.Linear(1, 1)
    recipe = method.configure_optimizers()
    (factor,) = recipe["lr_scheduler"]["scheduler"].lr_lambdas
    top = round(1200 * warm)
    assert recipe["lr_scheduler"]["interval"] == "step"
    assert (factor(0), factor(top // 2), factor(top)) == pytest.approx((1e-3, 0.5, 1.0), rel=2e-2)
    middle = (top + 1200) // 2
    assert (factor(middle), factor(1200)) == pytest.approx((0.5, 1e-3), rel=2e-2)


def test_ms_dcnns_paths_have_their_own_dropout_in_every_unit_and_transition() -> None:
    method = running(
        MSDCNNMethod(), held_out=[SimpleNamespace(channels=("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax"))]
    )
    with torch.device("meta"):
        network = method.configure_network(5)
    assert isinstance(network, MSDCNN)
    for path, rate in ((network.path_a, 0.01), (network.path_b, 0.5)):
        rates = [module.p for module in path.modules() if isinstance(module, nn.Dropout)]
        assert rates == [rate] * (58 + 3)
    assert (network.maps_a, network.maps_b) == ([4, 1, 2], [3])


def test_ms_dcnns_loss_is_the_papers_dice_alone_unless_asked() -> None:
    torch.manual_seed(0)
    batch, logits = batch_of((2, 8, 8)), torch.randn(2, 1, 8, 8)
    alone = MSDCNNMethod().loss(logits, batch)
    both = MSDCNNMethod(add_cross_entropy=True).loss(logits, batch)
    assert set(alone) == {"loss"}
    assert both["dice"].item() == pytest.approx(alone["loss"].item())
    assert both["loss"].item() == pytest.approx(both["dice"].item() + both["cross_entropy"].item())
    p = torch.sigmoid(logits[:, 0]).double()
    g, inside = batch["reference"], batch["valid"]
    entropy = -(g * p.log() + (1 - g) * (1 - p).log())[inside].mean().item()
    assert both["cross_entropy"].item() == pytest.approx(entropy, rel=1e-5)


def test_ms_dcnn_learns_with_adam_at_a_constant_rate() -> None:
    method = running(MSDCNNMethod())
    method.network = nn.Linear(1, 1)
    optimizer = method.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 1e-3


#: What a method's constructor refuses, and words of its answer.
REFUSED = [
    ("ms_dcnn", {"median": 4}, "median must be odd and positive, not 4"),
    ("ms_dcnn", {"size": 100}, "size must be a multiple of 16, not 100"),
    ("multiscale_resnet", {"size": None}, "pixel_mm and size go together"),
    ("fcn3d_crf", {"crf_iterations": -1}, "crf_iterations must be at least 0"),
    ("perfusion_rapid", {"fitted": True}, "fits rcbf_below alone"),
    ("residual_unet", {"base": "wide"}, "base"),
]


@pytest.mark.parametrize(("method", "settings", "words"), REFUSED)
def test_what_a_method_refuses_is_told_in_its_own_words(
    method: str, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    config = read_yaml(shipped_configs() / "methods" / f"{method}.yaml")
    config = merge(config, {"model": {"init_args": settings}, "data": {"cohort": str(tmp_path)}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError) as refused:
        load(tmp_path / "config.yaml", {"logger": False})
    (problem,) = refused.value.problems
    assert words in problem
    assert "config.yaml" in problem
    assert "Union" not in problem


def test_a_method_whose_package_is_missing_is_refused_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_yaml(shipped_configs() / "methods" / "residual_unet.yaml")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "needy.yaml").write_text(
        yaml.safe_dump(config | {"requires": {"no_such": "pip install it"}})
    )
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"name": "s", "methods": ["all_background", "needy"]}))
    monkeypatch.chdir(tmp_path)
    for command in (["cost", "--methods", "needy"], ["sanity", "needy"]):
        command += ["--config", "suite.yaml"]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "pip install it" in said
        assert "Traceback" not in said
    # Of a whole suite, what can be measured is.
    assert main(["cost", "--config", "suite.yaml", "--size", "32"]) == 0
    said = capsys.readouterr()
    assert "needy is left out, it needs no_such (pip install it)" in said.err
    assert "all_background" in said.out
