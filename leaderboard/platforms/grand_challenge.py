"""Grand Challenge: the jobs of an algorithm phase, or an unpacked zip of predictions; ``metrics.json``.

Layouts: ``/input/predictions.json`` lists jobs. Since 2023 the files of a job lie in
``/input/<job>/output/<relative path>/``, and each value names its ``socket`` (until 2025 its ``interface``). In 2022
all outputs lay flat as ``/input/<image>.mha``. The name of a job's input image is the only link to its case. Without
``predictions.json`` it is a phase in which predictions are uploaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from leaderboard.cohort.case import Case
from leaderboard.cohort.names import is_mask_file
from leaderboard.errors import InputError, cut, listed
from leaderboard.io import ENDINGS
from leaderboard.io.archive import leads_out
from leaderboard.io.tables import shown
from leaderboard.platforms.interface import Handed, Platform, Rows, Settings
from leaderboard.platforms.naming import case_of_name
from leaderboard.platforms.summary import Summary
from leaderboard.platforms.tree import hand_over_tree
from leaderboard.scoring.submission import Submission

PREDICTIONS = "predictions.json"
METRICS_FILE = "metrics.json"
_LARGEST_LIST = 1 << 26
_MOST_JOBS = 100_000
Job = Mapping[str, Any]


def hand_over(stack: ExitStack, settings: Settings, cases: Sequence[Case], with_maps: bool) -> Handed:
    """The outputs of all jobs that succeeded.

    Raises:
        InputError: the list of jobs is damaged or names no job, or as for `hand_over_tree`.
    """
    root = settings.submission
    if not root.is_dir():
        raise InputError(f"{root}: is no folder: mount what the platform hands over there")
    if not os.path.lexists(root / PREDICTIONS):
        return hand_over_tree(stack, settings, cases, with_maps)
    jobs = read_jobs(root / PREDICTIONS)
    find = case_of_name(cases, settings.case_pattern)
    masks = Submission(root, {}, [], [], {})
    maps = Submission(root, {}, [], [], {})
    owners = dict[Path, str](), dict[Path, str]()
    for number, job in enumerate(jobs):
        where = f"{root / PREDICTIONS}: job {number + 1}"
        try:
            case = _case_of(job, find)
            if job.get("status", "Succeeded") != "Succeeded":
                status = shown(str(job["status"]))
                masks.notes.append(f"{where} is of {case} and has the status {status}, not Succeeded")
                continue
            outputs = _values(job, "outputs")
            for part, files, slug in ((0, masks, settings.mask_socket), (1, maps, settings.map_socket)):
                if part and not with_maps:
                    continue
                file = _file_of(root, job, _output(outputs, slug, alone=not part))
                if file in files.files:
                    raise InputError(f"has the output {file}, as another job has: give each its own")
                files.files[file], owners[part][file] = file, case
        except InputError as error:
            masks.problems += [f"{where} {fault}" for fault in error.problems]
    masks.owners, maps.owners = owners
    return Handed(masks, maps if with_maps else None)


def read_jobs(path: Path) -> list[Job]:
    """The jobs of a ``predictions.json``.

    Raises:
        InputError: it is no such list.
    """
    jobs = read_json(path)
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise InputError(f"{path}: is no list of jobs: give the file that the platform writes")
    if not jobs:
        raise InputError(f"{path}: lists no job: nothing was predicted")
    if len(jobs) > _MOST_JOBS:
        raise InputError(f"{path}: lists {len(jobs)} jobs where {_MOST_JOBS} are allowed: give the platform's own file")
    return jobs


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    try:
        if not path.is_file():
            fault = "is no regular file" if os.path.lexists(path) else "does not exist"
            raise InputError(f"{path}: {fault}: give a file of JSON")
        if path.stat().st_size > _LARGEST_LIST:
            raise InputError(f"{path}: is larger than {_LARGEST_LIST >> 20} MB: give the platform's own file")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}): change its permissions") from None
    except (ValueError, RecursionError) as error:
        fault = "nested too deeply" if isinstance(error, RecursionError) else cut(str(error))
        raise InputError(f"{path}: is no JSON in UTF-8 ({fault}): replace the file") from None


def results(summary: Summary, rows: Rows | None, settings: Settings) -> dict[str, object]:
    """``metrics.json``: dotted paths such as ``aggregates.dice.mean`` lead to its numbers."""
    aggregates = {
        name: {
            "mean": found.mean,
            "std": found.sd,
            "min": found.least,
            "median": found.median,
            "max": found.most,
            "count": summary.cases,
            "undefined": found.undefined,
        }
        for name, found in summary.metrics.items()
    }
    content: dict[str, object] = {"aggregates": aggregates, "cases": {"count": summary.cases} | dict(summary.statuses)}
    content["about"] = dict(summary.about)
    return {METRICS_FILE: content | ({} if rows is None else {"results": list(rows)})}


PLATFORM = Platform(
    name="grand-challenge",
    hand_over=hand_over,
    results=results,
    submission=Path("/input"),
    references=(Path("/opt/ml/input/data/ground_truth"), Path("/opt/evaluation/ground-truth")),
    out=Path("/output"),
    files=(METRICS_FILE,),
    workers="GRAND_CHALLENGE_MAX_WORKERS",
)


def _values(job: Job, key: str) -> list[Job]:
    """The inputs or outputs of a job.

    Raises:
        InputError: they are no list of values.
    """
    values = job.get(key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InputError(f"has no list of {key}: give the platform's own file")
    return values


def _socket(value: Job) -> Job:
    """What a value is called today (``socket``) or was until 2025 (``interface``)."""
    found = value.get("socket", value.get("interface"))
    return found if isinstance(found, dict) else {}


def _input_names(job: Job) -> Iterator[str]:
    """The names of a job's input images and files, as they were uploaded."""
    for value in _values(job, "inputs"):
        image, file = value.get("image"), value.get("file")
        if isinstance(image, dict) and isinstance(image.get("name"), str):
            yield image["name"]
        elif isinstance(file, str):
            yield PurePosixPath(unquote(urlsplit(file).path)).name


def _case_of(job: Job, find: Callable[[str], str | None]) -> str:
    """The case of a job.

    Raises:
        InputError: its inputs name none, or several.
    """
    names = list(_input_names(job))
    try:
        found = dict.fromkeys(case for name in names if (case := find(name)))
    except ValueError as error:  # a URL that is none
        raise InputError(f"has an input whose URL is damaged ({error}): give the platform's own file") from None
    if len(found) == 1:
        return next(iter(found))
    named = listed([shown(name) for name in names]) or "no image"
    if found:
        raise InputError(f"has inputs ({named}) of {listed(list(found))}: one job is to have one case")
    raise InputError(
        f"has inputs ({named}) that name no case of the references: say which part of a name does, with --case-pattern"
    )


def _output(outputs: Sequence[Job], slug: str, *, alone: bool) -> Job:
    """The output with that slug; `alone`: or the only image.

    Raises:
        InputError: there is none.
    """
    found = [value for value in outputs if _socket(value).get("slug") == slug]
    images = [value for value in outputs if isinstance(value.get("image"), dict)]
    found = found or (images if alone and len(images) == 1 else [])
    if len(found) == 1:
        return found[0]
    slugs = listed([shown(str(_socket(value).get("slug"))) for value in outputs]) or "none"
    raise InputError(
        f"has {len(found) or 'no'} output {slug} (it has {slugs}): name the right one with --mask-socket or "
        "--map-socket"
    )


def _file_of(root: Path, job: Job, output: Job) -> Path:
    """The file of an output.

    Raises:
        InputError: there is none, or not one alone, or it is no image that is read.
    """
    pk, place, image = job.get("pk"), _socket(output).get("relative_path", ""), output.get("image")
    if not isinstance(place, str) or not isinstance(pk, str | int):
        raise InputError("has no pk, or an output without a relative_path: give the platform's own file")
    image_pk = image.get("pk") if isinstance(image, dict) else None
    for part in (str(pk), place, str(image_pk)):
        if leads_out(part) or "\0" in part:
            raise InputError(f"names the place {shown(part)}, which leads out of its folder: give the platform's own")
    folder = root / str(pk) / "output" / place
    try:
        if place and folder.is_dir():
            return _inside(root, _only_image(folder))
        flat = [file for ending in ENDINGS if os.path.lexists(file := root / f"{image_pk}{ending}")]
    except OSError as error:
        fault = error.strerror or error
        raise InputError(f"has an output {shown(str(folder))} that cannot be read ({fault}): check the mount") from None
    if len(flat) == 1:
        return _inside(root, flat[0])
    raise InputError(f"has no file: there is neither {folder} nor an image {image_pk} in {root}: run it again")


def _only_image(folder: Path) -> Path:
    """The image that a socket's folder holds.

    Raises:
        InputError: it holds none that is read, or several.
    """
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    images = [path for path in files if is_mask_file(path.name)]
    if len(images) == 1:
        return images[0]
    there = listed([shown(path.name) for path in files]) or "nothing"
    raise InputError(f"has {there} in {folder}: write one image there, .mha, .nii, .nii.gz or .nrrd")


def _inside(root: Path, path: Path) -> Path:
    """The file, if it is one and no link leads elsewhere.

    Raises:
        InputError: it is not.
    """
    if path.is_file() and path.resolve().is_relative_to(root.resolve()):
        return path
    raise InputError(f"has the output {path}, which is no regular file or a link out of {root}: put the mask there")
