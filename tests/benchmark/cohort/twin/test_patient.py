"""Patients as they are written."""

import dataclasses

import numpy as np
import pytest
from heads import patient_of_case

from benchmark.cohort.twin.layout import Patient, patients_of
from benchmark.cohort.twin.patient import simulate, strata_of


def test_lesion_volumes_of_a_cohort_cover_the_distribution_evenly():
    for seed in range(5):
        for partition, count in (("train", 63), ("test", 40)):
            drawn = np.array([strata_of(Patient(partition, number, ()), seed) for number in range(1, count + 1)])
            for axis in range(3):
                fifths = np.histogram(drawn[:, axis], bins=5, range=(0, 1))[0]
                assert np.abs(fifths - count / 5).max() <= 4


def test_the_lesion_is_darker_in_flow_and_later_than_the_other_side():
    """A large stroke without reperfusion shows in the written maps."""
    found = []
    for patient in patients_of("train", 34, 48):
        for slab, images in zip(patient.slabs, simulate(patient, seed=1), strict=True):
            lesion = images.reference > 0
            if lesion.sum() * slab.voxel_ml > 15:
                tissue = (images.by_kind["CT_CBF"] > 0) & ~lesion
                flow, late = images.by_kind["CT_CBF"], images.by_kind["CT_Tmax"]
                found.append([np.median(each[lesion]) / np.median(each[tissue]) for each in (flow, late)])
    ratios = np.array(found)
    assert len(ratios) >= 10
    assert np.median(ratios[:, 0]) < 0.6
    assert np.median(ratios[:, 1]) > 1.5


@pytest.mark.parametrize("change", [{"partition": "test"}, {"number": 2}])
def test_a_patient_of_another_partition_or_number_has_another_head_and_another_lesion(change):
    patient = patient_of_case(20, size=32)
    (images,), (others,) = simulate(patient, seed=0), simulate(dataclasses.replace(patient, **change), seed=0)
    assert not np.array_equal(images.by_kind["CT"] > 100, others.by_kind["CT"] > 100)
    assert not np.array_equal(images.reference, others.reference)
    assert (strata_of(patient, 0) != strata_of(dataclasses.replace(patient, **change), 0)).all()


@pytest.fixture(scope="module")
def images():
    """Images by kind of the slabs of twelve cases."""
    return [image.by_kind for patient in patients_of("train", 12, 64) for image in simulate(patient, seed=0)]


def test_soft_tissue_in_the_ct_spreads_as_in_the_real_cohort_and_metal_is_what_12_bits_hold(images):
    """Real values between 0 and 80 HU: quartiles 32, 38, 45, and 95 % below 58; largest of all 3071."""
    cts = [image["CT"] for image in images]
    soft = np.concatenate([ct[(ct > 0) & (ct < 80)] for ct in cts])
    found = np.percentile(soft, [25, 50, 75, 95])
    np.testing.assert_allclose(found, [32, 38, 45, 58], atol=4)
    assert found[2] - found[0] == pytest.approx(13, abs=3)
    largest = {int(ct.max()) for ct in cts}
    assert max(largest) == 3071
    assert min(largest) < 2500


def test_the_largest_values_of_the_maps_are_those_of_the_real_ones(images):
    """Real Tmax goes up to 40 s and no further, and real CBF above 3000."""
    assert 38 < max(image["CT_Tmax"].max() for image in images) <= 40
    assert max(image["CT_CBF"].max() for image in images) > 3000
