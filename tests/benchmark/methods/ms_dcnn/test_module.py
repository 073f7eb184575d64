from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from narrow import narrow
from recipe import batch_of, running
from torch import nn

from benchmark.methods.ms_dcnn.module import PATH_A, PATH_B, MSDCNNMethod, median_by_sorting, median_filtered
from benchmark.methods.ms_dcnn.network import MSDCNN
from leaderboard.cohort.formats import FORMATS, Cohort
from leaderboard.errors import InputError


def cohort_of(name: str) -> Cohort:
    """A cohort without cases that has the format's images."""
    form = FORMATS[name]
    return Cohort(Path("cohort"), form, "training", form.images, ())


def test_maps_are_found_by_what_they_show_in_both_editions(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch.setattr)
    for name, places in (("isles2018", ([4, 1, 2], [3])), ("isles2017", ([4, 2, 3], [1]))):
        network = running(MSDCNNMethod(), cohort=cohort_of(name)).configure_network(5)
        assert isinstance(network, MSDCNN)
        assert (network.index_a.tolist(), network.index_b.tolist()) == places


def test_a_cohort_without_its_maps_is_refused() -> None:
    cohort = replace(cohort_of("isles2018"), images=cohort_of("isles2018").images[:2])
    with pytest.raises(InputError, match="cohort: has no images of Tmax, CBV"):
        running(MSDCNNMethod(), cohort=cohort).configure_network(2)


def test_the_config_needs_the_maps_of_both_paths() -> None:
    config = yaml.safe_load((Path(__file__).parents[4] / "configs" / "methods" / "ms_dcnn.yaml").read_text())
    assert config["needs"] == [*PATH_A, *PATH_B]


def test_the_median_filter_equals_numpys_median_over_the_window() -> None:
    probability = torch.rand(2, 9, 10)
    filtered = median_filtered(probability, 5)
    padded = np.pad(probability.numpy(), ((0, 0), (2, 2), (2, 2)), mode="edge")
    for z in range(2):
        for y in range(9):
            for x in range(10):
                assert filtered[z, y, x] == np.median(padded[z, y : y + 5, x : x + 5])
    assert torch.equal(median_filtered(probability, 1), probability)
    for side in (1, 3, 5):
        assert torch.equal(median_by_sorting(probability, side), median_filtered(probability, side))


def test_the_rows_with_and_without_median_differ_by_specks() -> None:
    probability = torch.zeros(1, 12, 12)
    probability[0, 2, 2] = probability[0, 5:10, 5:10] = 0.9
    masks = MSDCNNMethod(median=3).postprocess(probability, {})
    assert set(masks) == {"", *MSDCNNMethod.ablations}
    assert masks["without_median"].sum() == 26
    assert not masks[""][0, 2, 2]
    assert masks[""][0, 6:9, 6:9].all()


@pytest.mark.parametrize("wrong", [{"size": 100}, {"median": 4}, {"median": 0}])
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="correct the config"):
        MSDCNNMethod(**wrong)


def test_ms_dcnns_paths_have_their_own_dropout_in_every_unit_and_transition() -> None:
    with torch.device("meta"):
        network = running(MSDCNNMethod(), cohort=cohort_of("isles2018")).configure_network(5)
    assert isinstance(network, MSDCNN)
    for path, rate in ((network.path_a, 0.01), (network.path_b, 0.5)):
        rates = [module.p for module in path.modules() if isinstance(module, nn.Dropout)]
        assert rates == [rate] * (58 + 3)


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
