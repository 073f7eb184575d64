from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from benchmark.methods.fcn3d_crf.module import FCN3DCRFMethod, decay
from benchmark.methods.fcn3d_crf.network import FCN3D
from benchmark.suite.config_files import shipped_configs


def test_the_learning_rate_falls_smoothly_by_a_twentieth_in_200_steps() -> None:
    assert [decay(step) for step in (0, 100, 200, 2000)] == pytest.approx([1, 0.95**0.5, 0.95, 0.95**10])


@pytest.mark.parametrize(
    ("paper", "kind", "rate"), [(False, torch.optim.Adam, 1e-4), (True, torch.optim.Adagrad, 0.01)]
)
def test_the_paper_flag_chooses_the_authors_optimiser(paper: bool, kind: type, rate: float) -> None:
    method = FCN3DCRFMethod(paper=paper)
    method.network = nn.Linear(1, 1)
    optimizer = method.configure_optimizers()["optimizer"]
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == rate


def test_the_config_trains_single_volumes_with_bounded_gradients() -> None:
    content = yaml.safe_load(Path(shipped_configs() / "methods" / "fcn3d_crf.yaml").read_text())
    assert content["model"]["init_args"]["learning_rate"] == 1e-4
    assert content["trainer"] == {"max_epochs": 300, "gradient_clip_val": 1.0}
    assert content["data"] == {"batch_size": 1}


#: Slices of volumes in an order in which deep ones follow shallow ones, as in an epoch.
DEPTHS = (2, 16, 2, 22, 2, 8, 2, 22)


def test_the_recipe_is_steady_on_volumes_of_all_depths() -> None:
    torch.manual_seed(0)
    method = FCN3DCRFMethod()
    method.network = FCN3D(5)
    optimizer = method.configure_optimizers()["optimizer"]
    losses = []
    for step, depth in enumerate(DEPTHS):
        generator = torch.Generator().manual_seed(step)
        reference = torch.zeros(1, depth, 32, 32)
        reference[:, depth // 2 :, 8:16, 8:16] = 1
        image = torch.randn(1, 5, depth, 32, 32, generator=generator) + reference[:, None]
        valid = torch.ones_like(reference, dtype=torch.bool)
        terms = method.loss(method.network(image), {"reference": reference, "valid": valid})
        optimizer.zero_grad()
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(method.network.parameters(), 1.0)
        optimizer.step()
        losses.append(terms["loss"].item())
    # Adam at 1e-3 comes to a loss of 10,000 at the first volume of 22 slices.
    assert max(losses) < 2, losses
    assert losses[-1] < min(losses[:3]), losses
