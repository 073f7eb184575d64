"""Rows that average probability maps, from maps that are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from benchmark.cohort.folds import Folds
from benchmark.rundir.digests import digest_results, read_provenance, write_provenance
from benchmark.suite.ensembles import Ensemble, make_ensembles, plan_ensembles
from benchmark.suite.plan import Job
from leaderboard.errors import InputError
from leaderboard.io.images import write_probabilities

SHAPE = (3, 4, 2)
FOLDS = Folds({"case_1": 0, "case_2": 1}, {"case_1": "1", "case_2": "2"})
CASES: list[Any] = [SimpleNamespace(name=name) for name in FOLDS.fold_of]
CONFIG = {"predictions": {"probabilities": True}}


def drawn(number: int) -> np.ndarray:
    """A map in whole steps of 1 / 65535."""
    return np.random.default_rng(number).integers(0, 65536, SHAPE) / 65535


def job_of(
    root: Path,
    method: str,
    fold: int,
    seed: int | None,
    values: np.ndarray | None,
    threshold: float = 0.5,
    **costs: int,
) -> Job:
    """A finished job with the map of its fold's case, or without any."""
    run = root / method / f"fold{fold}" / ("" if seed is None else f"seed{seed}")
    (run / "probabilities").mkdir(parents=True)
    if values is not None:
        like = nib.Nifti1Header()
        like.set_data_shape(SHAPE)
        like["pixdim"][1:4] = (0.9, 1.1, 6)
        write_probabilities(run / "probabilities" / f"case_{fold + 1}.nii.gz", values, like)
    content = {"ablations": [], "costs": costs, "outputs": digest_results(run, [run / "probabilities"])}
    write_provenance(run, content | {"threshold": threshold})
    return Job(method, fold, run, CONFIG, "", seed)


def stored(ensemble: Ensemble, kind: str) -> np.ndarray:
    """What an ensemble wrote for its only case."""
    image = nib.load(ensemble.run / kind / f"case_{ensemble.fold + 1}.nii.gz")
    assert image.header.get_zooms() == pytest.approx((0.9, 1.1, 6))
    return np.asarray(image.dataobj)


def make(root: Path, jobs: Sequence[Job], kinds: Sequence[str]) -> dict[tuple[str, int], Ensemble]:
    ensembles, remarks = plan_ensembles(jobs, root, kinds)
    assert remarks == []
    make_ensembles(ensembles, CASES, FOLDS)
    return {(own.name, own.fold): own for own in ensembles}


def test_trainings_are_averaged_fold_by_fold_and_each_method_counts_once_among_methods(tmp_path: Path) -> None:
    maps = {("a", fold, seed): drawn(10 * fold + seed) for fold in (0, 1) for seed in (0, 1, 2)}
    maps |= {("b", fold, 0): drawn(100 + fold) for fold in (0, 1)}
    jobs = [job_of(tmp_path, *place, values, threshold=0.4) for place, values in maps.items()]
    jobs += [job_of(tmp_path, "rule", fold, None, None) for fold in (0, 1)]
    found = make(tmp_path, jobs, ["seeds", "methods"])
    assert list(found) == [("a_ensemble", 0), ("a_ensemble", 1), ("ensemble", 0), ("ensemble", 1)]
    for fold in (0, 1):
        of_a = (maps["a", fold, 0] + maps["a", fold, 1] + maps["a", fold, 2]) / 3
        for name, mean, threshold in (
            ("a_ensemble", of_a, 0.4), ("ensemble", (of_a + maps["b", fold, 0]) / 2, 0.5),
        ):  # fmt: skip
            np.testing.assert_allclose(stored(found[name, fold], "probabilities"), mean, rtol=0, atol=0.51 / 65535)
            np.testing.assert_array_equal(stored(found[name, fold], "predictions"), mean > threshold)
    assert {name for name, _ in make(tmp_path, jobs, ["methods"])} == {"ensemble"}


def test_an_even_chance_is_no_lesion_however_it_comes_about(tmp_path: Path) -> None:
    steps = np.arange(24).reshape(SHAPE) * 2849
    jobs = [job_of(tmp_path, "a", 0, seed, one / 65535) for seed, one in ((0, steps), (1, 65535 - steps))]
    own = make(tmp_path, jobs, ["seeds"])["a_ensemble", 0]
    assert not stored(own, "predictions").any()
    assert (stored(own, "probabilities") < 0.5).all()


def test_an_ensemble_is_made_again_if_a_member_changed_or_a_file_of_it_and_else_left(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, "a", 0, seed, drawn(seed)) for seed in (0, 1)]
    own = make(tmp_path, jobs, ["seeds"])["a_ensemble", 0]
    mask = own.run / "predictions" / "case_1.nii.gz"
    content, written = mask.read_bytes(), mask.stat().st_mtime_ns
    make(tmp_path, jobs[::-1], ["seeds"])
    assert mask.stat().st_mtime_ns == written
    mask.write_bytes(content[:-1])
    make(tmp_path, jobs, ["seeds"])
    assert mask.read_bytes() == content
    (member,) = read_provenance(own.run, "members")["members"][:1]
    assert sorted(member) == ["a/fold0/seed0", "a/fold0/seed1"]

    (jobs[0].run / "probabilities" / "case_1.nii.gz").unlink()
    (jobs[0].run / "probabilities").rmdir()
    jobs[0] = job_of(tmp_path, "a", 0, 0, drawn(7))
    make(tmp_path, jobs, ["seeds"])
    np.testing.assert_array_equal(stored(own, "predictions"), drawn(7) + drawn(1) > 1)


def test_a_trained_method_without_maps_is_in_no_ensemble_and_told(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, "old", 0, seed, None if seed else drawn(0), parameters=9) for seed in (0, 1)]
    jobs += [job_of(tmp_path, "a", 0, seed, drawn(seed), parameters=9) for seed in (0, 1)]
    jobs += [job_of(tmp_path, "rule", 0, None, None, parameters=0)]
    ensembles, (remark,) = plan_ensembles(jobs, tmp_path, ["seeds", "methods"])
    assert [own.name for own in ensembles] == ["a_ensemble"]  # one method alone is no ensemble of methods
    assert remark.startswith("old: is in no ensemble, trainings of it have no probability maps: ")


def test_a_training_in_an_ensembles_place_is_not_touched(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, "a", 0, seed, drawn(seed)) for seed in (0, 1)]
    own = tmp_path / "a_ensemble" / "fold0"
    own.mkdir(parents=True)
    (own / "config.yaml").write_text("x: 1")
    with pytest.raises(InputError, match="is the place of an ensemble and holds a training"):
        make(tmp_path, jobs, ["seeds"])
    assert (own / "config.yaml").read_text() == "x: 1"
