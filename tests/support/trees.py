"""Small cohorts in the trees of the other formats, with real affines."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (10, 12, 6)
SPACING = (2.0, 2.0, 5.0)


def affine(spacing=SPACING, origin=(-20.0, -15.0, 7.0)) -> np.ndarray:
    """Axes to the right, the front and the head."""
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = origin
    return matrix


def write(path: Path, data: np.ndarray, matrix: np.ndarray | None = None) -> Path:
    """Write an image with that affine in both forms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine() if matrix is None else matrix)
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    nib.save(image, path)
    return path


def turn(path, codes):
    """Store an image in another order of axes; it shows the same in the same place."""
    image = nib.load(path)
    target = nib.orientations.axcodes2ornt(tuple(codes))
    change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)
    nib.save(image.as_reoriented(change), path)


def brain(seed: int, shape=SHAPE) -> np.ndarray:
    """Positive values in a box, 0 around it."""
    values = np.zeros(shape, np.float32)
    inner = tuple(slice(1, size - 1) for size in shape)
    values[inner] = np.random.default_rng(seed).uniform(1, 3, [size - 2 for size in shape])
    return values


def lesion(shape=SHAPE) -> np.ndarray:
    """A few voxels off the centre in every direction."""
    mask = np.zeros(shape, np.uint8)
    mask[2:4, 3:6, 1:3] = 1
    return mask


def isles2022(root: Path, numbers=(1, 2), *, old: bool = False) -> Path:
    """ISLES 2022 as released, or in the layout of the mirrors."""
    for number in numbers:
        name = f"sub-strokecase{number:04d}"
        folder = root / ("rawdata" if old else "ISLES-2022") / name / "ses-0001"
        for place, kind in (("dwi", "dwi"), ("dwi", "adc"), ("anat", "FLAIR")):
            file = f"{name}_ses-0001_{kind.lower() if old else kind}.nii.gz"
            fine = kind == "FLAIR"
            shape = (20, 24, 6) if fine else SHAPE
            write(
                (folder if old else folder / place) / file,
                brain(number, shape),
                affine((1.0, 1.0, 5.0), (-20.5, -15.5, 7.0)) if fine else None,
            )
        masks = root / "derivatives" if old else root / "ISLES-2022" / "derivatives"
        write(masks / name / "ses-0001" / f"{name}_ses-0001_msk.nii.gz", lesion())
    return root


def isles2024(root: Path, numbers=(1, 14)) -> Path:
    """ISLES 2024 as released."""
    for number in numbers:
        name = f"sub-stroke{number:04d}"
        write(root / "train/raw_data" / name / "ses-01" / f"{name}_ses-01_ncct.nii.gz", brain(number))
        derived = root / "train/derivatives" / name
        write(derived / "ses-01" / f"{name}_ses-01_space-ncct_cta.nii.gz", brain(number))
        write(derived / "ses-01" / f"{name}_ses-01_space-ncct_ctp.nii.gz", brain(number)[..., None].repeat(3, -1))
        for kind in ("tmax", "mtt", "cbf", "cbv"):
            write(derived / "ses-01/perfusion-maps" / f"{name}_ses-01_space-ncct_{kind}.nii.gz", brain(number))
        for kind in ("dwi", "adc"):
            write(derived / "ses-02" / f"{name}_ses-02_space-ncct_{kind}.nii.gz", brain(number))
        write(derived / "ses-02" / f"{name}_ses-02_space-ncct_lesion-msk.nii.gz", lesion())
    return root


def isles2026(root: Path, names=("R009/sub-r009s001", "SOOP/sub-soop0910")) -> Path:
    """ISLES 2026 as released."""
    for number, name in enumerate(names):
        stem = root / "ATLAS3_Training_Raw" / name / "ses-1/anat" / f"{Path(name).name}_ses-1_space-orig"
        write(stem.with_name(f"{stem.name}_desc-brain_T1w.nii.gz"), brain(number))
        write(stem.with_name(f"{stem.name}_label-lesion_desc-T1lesion_mask.nii.gz"), lesion())
    return root


def nnunet(root: Path, names=("a_1", "a_2"), channels=("DWI", "ADC")) -> Path:
    """A raw dataset of nnU-Net."""
    import json

    for name in names:
        for place, _ in enumerate(channels):
            write(root / "imagesTr" / f"{name}_{place:04d}.nii.gz", brain(place))
        write(root / "labelsTr" / f"{name}.nii.gz", lesion())
    named = {str(place): name for place, name in enumerate(channels)}
    content = {"channel_names": named, "labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def manifest(root: Path, names=("anna", "bert")) -> Path:
    """A cohort of one's own."""
    rows = ["case,patient,centre,DWI,ADC,reference"]
    for name in names:
        for kind in ("dwi", "adc"):
            write(root / "images" / f"{name}-{kind}.nii.gz", brain(1))
        write(root / "masks" / f"{name}.nii.gz", lesion())
        rows.append(f"{name},p-{name},Bern,images/{name}-dwi.nii.gz,images/{name}-adc.nii.gz,masks/{name}.nii.gz")
    (root / "cohort.csv").write_text("\n".join(rows) + "\n")
    return root
