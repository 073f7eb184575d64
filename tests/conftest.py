"""Small ISLES trees for tests, with the quirks of the real files: identity affine, spacing in pixdim alone.

Use the fixture `isles_tree`: ``root = isles_tree()`` writes a sound ISLES 2018 tree and returns its folder;
``isles_tree.image(...)`` and ``isles_tree.case(...)`` write single images and cases.
"""

from __future__ import annotations

import gzip
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

KINDS = {
    "isles2018": ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT"),
    "isles2017": ("MR_ADC", "MR_MTT", "MR_rCBF", "MR_rCBV", "MR_Tmax", "MR_TTP", "OT"),
}
DTYPES = {"CT": np.int32, "CT_CBF": np.uint16, "CT_CBV": np.uint16, "OT": np.uint8, "CT_4DPWI": np.float32}


class IslesTree:
    """Writes ISLES trees under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        numbers: Iterable[int] = (1, 2, 3),
        *,
        name: str = "cohort",
        partition: str = "TRAINING",
        edition: str = "isles2018",
        first_id: int = 900_000,
        patients: Callable[[int], str] | None = lambda number: f"P{(number + 1) // 2}",
        **case_options: object,
    ) -> Path:
        """Write cases into ``<folder>/<name>/<partition>`` and, unless `patients` is None, a ``patients.csv``."""
        root = self.folder / name
        for number in numbers:
            kinds = [kind for kind in KINDS[edition] if kind != "OT" or "train" in partition.lower()]
            ids = {kind: first_id + 10 * number + i for i, kind in enumerate(kinds)}
            self.case(root / partition / f"case_{number}", ids, **case_options)  # type: ignore[arg-type]
        if patients:
            lines = [f"case_{number},{patients(number)}\n" for number in numbers]
            (root / partition / "patients.csv").write_text("case,patient\n" + "".join(lines))
        return root

    def case(
        self,
        folder: Path,
        ids: dict[str, int],
        *,
        shape: tuple[int, int, int] = (8, 9, 2),
        spacing: tuple[float, float, float] = (0.9, 0.9, 6.0),
        prefix: str = "SMIR.Brain.XX.O",
        suffix: str = ".nii",
    ) -> dict[str, Path]:
        """Write one image a kind; returns their paths by kind."""
        paths = {}
        for kind, number in ids.items():
            stem = f"{prefix}.{kind}.{number}"
            if kind == "MR_4DPWI":
                data = self.values((*shape, 1, 3), kind, number)
            elif kind == "CT_4DPWI":
                data = self.values((*shape, 3), kind, number)
            else:
                data = self.values(shape, kind, number)
            paths[kind] = self.image(folder / stem / (stem + suffix), data, spacing)
        return paths

    @staticmethod
    def values(shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
        """Plausible voxels in the kind's stored type; for OT a box of 2 x 3 x 1 ones."""
        dtype = DTYPES.get(kind, np.float64)
        if kind == "OT":
            mask = np.zeros(shape, dtype)
            mask[2:4, 3:6, 0] = 1
            return mask
        values = np.random.default_rng(seed).uniform(0, 40, shape)
        return (values - 23 if kind == "CT" else values).astype(dtype)

    @staticmethod
    def content(data: np.ndarray, spacing: tuple[float, ...] = (0.9, 0.9, 6.0)) -> bytes:
        """An uncompressed NIfTI file as the challenge's: qform code 0, sform code 2 and identity, spacing in pixdim."""
        image = nib.Nifti1Image(data, np.eye(4), dtype=data.dtype)
        header = image.header
        header["qform_code"], header["sform_code"] = 0, 2
        header["pixdim"][1 : len(spacing) + 1] = spacing
        content = bytearray(nib.Nifti1Image(data, None, header, dtype=data.dtype).to_bytes())
        content[112:116] = np.float32(np.nan).astype(header["pixdim"].dtype).tobytes()  # scl_slope
        return bytes(content)

    @classmethod
    def image(cls, path: Path, data: np.ndarray, spacing: tuple[float, ...] = (0.9, 0.9, 6.0)) -> Path:
        """Write an image, gzip-compressed where its name says so."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = cls.content(data, spacing)
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        return path


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Ctrl-C is heard, also where a shell started the tests in the background, which ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def isles_tree(tmp_path: Path) -> IslesTree:
    return IslesTree(tmp_path)
