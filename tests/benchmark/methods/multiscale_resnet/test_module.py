from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recipe import running

from benchmark.methods.multiscale_resnet import MultiScaleResNetMethod
from leaderboard.errors import InputError


def test_five_maps_make_thirty_channels() -> None:
    with torch.device("meta"):
        network: Any = MultiScaleResNetMethod().configure_network(5)
    assert network.encoders[0][0].in_channels == 30


def test_the_prediction_is_the_lesion_class_of_the_finest_level() -> None:
    logits = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    probability = MultiScaleResNetMethod().probability(logits)
    scores = np.exp(logits[0].double().numpy())
    np.testing.assert_allclose(probability.numpy(), scores[:, 1] / scores.sum(axis=1), rtol=1e-5)
    assert torch.equal(probability > 0.5, logits[0].argmax(dim=1) == 1)


@pytest.mark.parametrize(("decay", "halfway"), [(0.0, 1.0), (0.9, 0.5**0.9)])
def test_the_recipe_is_adam_with_a_constant_or_a_polynomial_learning_rate(decay: float, halfway: float) -> None:
    method = running(MultiScaleResNetMethod(decay=decay), steps=100)
    method.network = torch.nn.Linear(1, 1)
    recipe: Any = method.configure_optimizers()
    assert type(recipe["optimizer"]) is torch.optim.Adam
    settings = recipe["optimizer"].defaults
    assert (settings["lr"], settings["betas"], settings["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-5)
    (factor,) = recipe["lr_scheduler"]["scheduler"].lr_lambdas
    assert recipe["lr_scheduler"]["interval"] == "step"
    assert (factor(0), factor(50)) == pytest.approx((1.0, halfway))


def test_the_first_authors_own_momentum_is_an_option() -> None:
    method = running(MultiScaleResNetMethod(first_beta=0.99), steps=100)
    method.network = torch.nn.Linear(1, 1)
    recipe: Any = method.configure_optimizers()
    assert recipe["optimizer"].defaults["betas"] == (0.99, 0.999)


@pytest.mark.parametrize(
    "wrong", [{"size": None}, {"pixel_mm": None}, {"size": 100}, {"pixel_mm": None, "size": None, "slice_mm": 5.0}]
)
def test_settings_that_do_not_fit_together_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="correct the config"):
        MultiScaleResNetMethod(**wrong)
