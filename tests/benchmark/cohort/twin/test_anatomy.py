"""Heads: what slabs of a patient share, and what is in them."""

import dataclasses

import numpy as np
from heads import patient_of_case

from benchmark.cohort.twin import anatomy as anatomy_module
from benchmark.cohort.twin.anatomy import cut_slab, draw_head


def test_two_slabs_are_cut_from_one_head():
    patient = patient_of_case(35, size=48)
    lower, upper = patient.slabs
    tall = dataclasses.replace(lower, slices=lower.slices + upper.slices)
    head = draw_head(np.random.default_rng(5))
    parts = [cut_slab(head, slab, z) for slab, z in zip(patient.slabs, patient.centres_mm(9.0), strict=True)]
    whole = cut_slab(head, tall, 9.0)
    for name in ("grey", "white", "fluid", "depth_mm", "outer_hu"):
        stacked = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(stacked, getattr(whole, name), atol=1e-4)


def test_tissue_fractions_fill_the_brain_and_the_head_is_of_human_size():
    slab = patient_of_case(85).slabs[0]
    for seed in range(3):
        cut = cut_slab(draw_head(np.random.default_rng(seed)), slab, 10.0)
        total = cut.grey + cut.white + cut.fluid
        assert total.max() <= 1 + 1e-3
        assert 1000 < cut.brain.sum() * slab.voxel_ml < 2300
        assert 0.05 < cut.fluid.sum() / total.sum() < 0.3
        assert cut.outer_hu[cut.depth_mm > 8].max() == 0


def test_an_image_of_fewer_pixels_shows_the_same_head():
    fine, coarse = (patient_of_case(10, size).slabs[0] for size in (128, 32))
    head = draw_head(np.random.default_rng(6))
    expected = cut_slab(head, fine, 5.0).white.reshape(fine.slices, 32, 4, 32, 4).mean(axis=(2, 4))
    found = cut_slab(head, coarse, 5.0).white
    assert np.abs(found - expected).mean() < 0.01
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_the_larger_ventricles_of_a_head_hold_more_fluid():
    slab = patient_of_case(85).slabs[0]
    head = draw_head(np.random.default_rng(7))
    small, large = (cut_slab(dataclasses.replace(head, ventricle_scale=scale), slab, 10.0) for scale in (0.9, 1.7))
    small_ml, large_ml = (float(cut.fluid[cut.depth_mm > 25].sum()) * slab.voxel_ml for cut in (small, large))
    assert 10 < 1.3 * small_ml < large_ml < 150


def test_both_ct_backgrounds_occur():
    found = {draw_head(np.random.default_rng(seed)).background_hu for seed in range(12)}
    assert found == {-23.0, 0.0}
    assert anatomy_module.draw_head(np.random.default_rng(0)).atrophy > 0
