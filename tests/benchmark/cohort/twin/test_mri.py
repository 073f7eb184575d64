"""The signals of magnetic resonance images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.cohort.twin import mri
from benchmark.cohort.twin.isles2022 import TREE
from benchmark.cohort.twin.patient import Cut, Person, draw_person


@pytest.fixture(scope="module")
def person() -> Person:
    return draw_person(TREE.patients("train", 5, 32)[4], 2)


@pytest.fixture(scope="module")
def cut(person: Person) -> Cut:
    return mri.cut_brain(TREE.patients("train", 5, 32)[4], person, 4.0)


def exam_at(hours: float, **changes: object) -> mri.Exam:
    drawn = mri.draw_exam(np.random.default_rng(0), lesion_free=False)
    return replace(drawn, hours=hours, emboli=np.empty((0, 2)), emboli_alone=False, **changes)


def adc_of(signals: mri.Signals) -> np.ndarray:
    return np.log(np.maximum(signals.unweighted, 1e-6) / np.maximum(signals.weighted, 1e-6))


@pytest.mark.parametrize(("share", "adc"), [("grey", 0.82), ("white", 0.72), ("fluid", 3.0)])
def test_a_voxel_of_one_tissue_has_its_diffusivity(person: Person, cut: Cut, share: str, adc: float) -> None:
    pure = {name: np.full_like(cut.anatomy.grey, name == share) for name in ("grey", "white", "fluid")}
    healthy = replace(person, supply=replace(person.supply, old_infarct=None, leukoaraiosis=0.0))
    signals = mri.signals_of(healthy, exam_at(24, lesion_free=True), replace(cut, anatomy=replace(cut.anatomy, **pure)))
    np.testing.assert_allclose(adc_of(signals), adc, atol=1e-3)


def lesion_ratios(person: Person, cut: Cut, hours: float) -> tuple[float, float, float]:
    """FLAIR and DWI of the lesion relative to the same patient without it, and its ADC."""
    signals = mri.signals_of(person, exam_at(hours), cut)
    healthy = mri.signals_of(person, exam_at(hours, lesion_free=True), cut)
    inside = signals.lesion > 0
    assert inside.sum() > 30
    flair, dwi = (
        np.median(getattr(signals, kind)[inside] / getattr(healthy, kind)[inside]) for kind in ("flair", "weighted")
    )
    return float(flair), float(dwi), float(np.median(adc_of(signals)[inside]))


def test_dwi_shows_a_stroke_at_once_and_flair_only_after_hours(person: Person, cut: Cut) -> None:
    early, late = lesion_ratios(person, cut, 2.0), lesion_ratios(person, cut, 48.0)
    assert early[0] == pytest.approx(1, abs=1e-3)
    assert late[0] > 1.2
    assert early[1] > 1.2
    assert late[1] > early[1]  # a long T2 shines through
    assert early[2] == pytest.approx(late[2], abs=0.05)


def test_a_scan_without_a_stroke_shows_none(person: Person, cut: Cut) -> None:
    assert not mri.lesion_of(exam_at(24, lesion_free=True), cut).any()


def test_an_embolus_is_a_sphere_of_its_radius(cut: Cut) -> None:
    exam = replace(exam_at(24), emboli=np.array([[0.5, 8.0]]), emboli_alone=True)
    (z, x, y) = np.nonzero(mri.lesion_of(exam, cut))
    places = np.stack([cut.grid.z_mm[z], cut.grid.x_mm[x], cut.grid.y_mm[y]])
    distances = np.linalg.norm(places[:, :, None] - places[:, None], axis=0)
    assert 8 < distances.max() <= 16
