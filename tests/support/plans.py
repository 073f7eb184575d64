"""A small suite's file and its jobs, planned and not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmark.cohort.folds import Folds
from benchmark.suite.config import read_suite
from benchmark.suite.plan import Job, plan_jobs

FOLDS = Folds({"case_1": 0, "case_2": 1, "case_3": 2}, {"case_1": "1", "case_2": "2", "case_3": "3"})


def suite_file(folder: Path, **settings: object) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({"methods": ["all_background", "residual_unet"], **settings}))
    return path


def jobs_of(
    folder: Path,
    settings: dict | None = None,
    cohort_digest: str = "c",
    folds: Folds = FOLDS,
    seeds: Sequence[int] | None = None,
    suite_seeds: Sequence[int] = (),
    **suite_settings: object,
) -> list[Job]:
    suite = read_suite(suite_file(folder, **suite_settings, **({"seeds": suite_seeds} if suite_seeds else {})))
    return plan_jobs(
        suite, cohort=folder / "cohort", format_name="isles2018",
        cohort_digest=cohort_digest, folds_path=folder / "folds.csv", folds=folds,
        root=folder / "runs", cache=folder / "cache", methods=suite.methods, chosen_folds=[0, 2],
        settings=settings or {}, chosen_seeds=seeds,
    )  # fmt: skip
