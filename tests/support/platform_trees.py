"""What challenge platforms hand over, built by hand from their documentation: small masks of three cases."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import nibabel as nib
import numpy as np
import SimpleITK as sitk

SHAPE = (12, 14, 6)
SPACING = (2.0, 2.0, 3.0)
#: First axis to the left, as in most of ISLES 2022.
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0]) + np.array([[0, 0, 0, 11.0], [0, 0, 0, -20.0], [0, 0, 0, 5.0], [0, 0, 0, 0]])
SUBJECTS = tuple(f"sub-strokecase{number:04d}" for number in (1, 2, 3))
MASKS, MAPS = "stroke-lesion-segmentation", "lesion-probability-map"


def case_of(subject: str) -> str:
    return f"{subject}_ses-0001_msk"


def reference(number: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:7, 3:8, 1:4] = 1
    mask[9 : 9 + number, 10:12, 4] = 1  # a second lesion, of another size in each case
    return mask


def prediction(number: int) -> np.ndarray:
    """The first lesion shifted by a voxel a case, the second found in the first case alone."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[2 + number : 7 + number, 3:8, 1:4] = 1
    if number == 1:
        mask[9, 10:12, 4] = 1
    return mask


def probability(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).integers(0, 64, SHAPE) / 256
    return (prediction(number) * 0.5 + noise).astype(np.float32)


def write_nifti(path: Path, data: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, AFFINE), path)
    return path


def write_bare(path: Path, data: np.ndarray) -> Path:
    """As the platform's template writes an array: neither voxel size nor place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(data.T)), str(path))
    return path


def write_placed(path: Path, data: np.ndarray) -> Path:
    """With the case's own place, in ITK's axes (x to the left, y to the back)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetSpacing(SPACING)
    image.SetDirection((1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    image.SetOrigin((-11.0, 20.0, 5.0))
    sitk.WriteImage(image, str(path))
    return path


def write_references(folder: Path) -> Path:
    for number, subject in enumerate(SUBJECTS, start=1):
        write_nifti(folder / f"{case_of(subject)}.nii.gz", reference(number))
    return folder


def write_predictions(folder: Path, *, name: Callable[[str], str] = case_of, maps: bool = False) -> Path:
    for number, subject in enumerate(SUBJECTS, start=1):
        data = probability(number) if maps else prediction(number)
        write_nifti(folder / f"{name(subject)}.nii.gz", data)
    return folder


def pk_of(*words: object) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(map(str, words))))


def socket_value(key: str, slug: str, place: str, name: str | None, pk: str = "") -> dict[str, object]:
    socket = {"slug": slug, "relative_path": place, "kind": "Image", "super_kind": "Image", "title": slug}
    return {"image": {"pk": pk or pk_of(slug, name), "name": name}, "file": None, "value": None, key: socket}


def write_jobs(root: Path, key: str = "socket", write: Callable[[Path, np.ndarray], Path] = write_bare) -> Path:
    """``/input`` of an algorithm phase, its jobs in no order; `key` is how a value's socket is called."""
    jobs = []
    for number, subject in reversed(list(enumerate(SUBJECTS, start=1))):
        pk = pk_of("job", subject)
        outputs = []
        for slug, data in ((MAPS, probability(number)), (MASKS, prediction(number))):
            write(root / pk / "output" / "images" / slug / "output.mha", data)
            outputs.append(socket_value(key, slug, f"images/{slug}", f"{pk_of(slug, number)}.mha"))
        inputs = [
            socket_value(key, slug, f"images/{slug}", f"{subject}_ses-0001_{kind}.nii.gz")
            for slug, kind in (("dwi-brain-mri", "dwi"), ("adc-brain-mri", "adc"))
        ]
        jobs.append({"pk": pk, "inputs": inputs, "outputs": outputs, "status": "Succeeded", "exec_duration": "PT3S"})
    (root / "predictions.json").write_text(json.dumps(jobs), encoding="utf-8")
    return root


def write_flat_jobs(root: Path) -> Path:
    """``/input`` as in 2022: images flat, named by their keys; all jobs with one key, as in the organisers' test."""
    jobs = []
    for number, subject in enumerate(SUBJECTS, start=1):
        pk = pk_of("image", subject)
        write_placed(root / f"{pk}.mha", prediction(number))
        inputs = [socket_value("interface", "dwi-brain-mri", "", f"{subject}_ses-0001_dwi.nii.gz")]
        outputs = [socket_value("interface", MASKS, "", "output.mha", pk)]
        jobs.append({"pk": pk_of("job"), "inputs": inputs, "outputs": outputs, "status": "Succeeded"})
    (root / "predictions.json").write_text(json.dumps(jobs), encoding="utf-8")
    return root


def pack(folder: Path, archive: Path, top: str = "") -> Path:
    """A zip of all files of a folder, in a folder `top` where one is named."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, str(Path(top) / path.relative_to(folder)))
    return archive
