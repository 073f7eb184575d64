"""Figures of synthetic twins beside those of the real ISLES 2018 cohort, as a table and as pictures.

    python tools/twin_figures.py COHORT [COHORT ...] [--references DIR] [--out docs/twin]

Each COHORT is a folder that ``benchmark twin`` wrote; of ISLES 2018 it gets a column (two, where it has test cases), of
another format a picture, ``DIR/<format>.png``. The threshold
rows are an implementation of their own, apart from the project's methods: brain, CSF, vessel and margin masks, in-plane
smoothing of 5 mm FWHM, CBF relative to the median of the opposite hemisphere. With ``--out``, the table replaces the
lines between the markers in DIR/README.md, and the first cohort's pictures of four cases are written there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from marked_page import save, write_page
from scipy import ndimage, stats

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.cohort.formats.isles2018 import FORMAT
from leaderboard.io.grids import affine_of, resampled, to_canonical
from leaderboard.io.images import Volume, read_volume, write_text

FWHM_MM = 5.0
KINDS = tuple(kind.name for kind in FORMAT.images)
MARKERS = ("<!-- figures: written by tools/twin_figures.py -->", "<!-- end of figures -->")
#: Cases in the pictures: one of each slab shape.
PICTURED = (2, 25, 58, 82)
#: What is known of the real cohort (94 training cases), and the accepted range, by row of the table.
REAL: dict[str, tuple[str, tuple[float, float] | None]] = {
    "lesion mL, median": ("16.6", (12.0, 20.0)),
    "lesion mL, quartiles": ("7.2-44.1", None),
    "lesion mL, mean": ("31.9", None),
    "lesion mL, smallest and largest": ("0.78-259.5", None),
    "lesion volume, mean and SD of ln mL": ("2.84, 1.18", None),
    "T38 Dice, mean": ("0.30", (0.25, 0.40)),
    "T38 Dice, SD; median": ("0.26; 0.27", None),
    "T38 precision; recall": ("0.25; 0.37", None),
    "T38 volume difference mL, mean": ("14.3-15.3", None),
    "T38 Dice below 0.01, share of cases": ("-", None),
    "rCBF AUC, voxels pooled": ("0.79-0.88", (0.76, 0.86)),
    "rCBF AUC, mean over cases": ("-", None),
    "lesion inside smoothed Tmax > 6 s": ("0.676", (0.60, 0.75)),
    "all-background Dice": ("0", (0.0, 0.0)),
    "T30 Dice; RAPID-like Dice": ("-; 0.29", None),
    "Tmax > 6 s mL, median": ("45.5", None),
    "Tmax > 6 s mL, quartiles": ("27.8-74.8", None),
    "Tmax > 6 s over lesion, median (quartiles)": ("1.79 (0.97-4.53)", None),
    "Spearman, Tmax > 6 s and lesion mL": ("0.43", None),
    "healthy side MTT; Tmax s, median": ("7.6; 3.8 (inferred)", None),
    "CT between 0 and 80 HU, quartiles; 95 %": ("32-38-45; 58", None),
    "largest CT; CBF; CBV; MTT; Tmax": ("3071; 6338; 742; 40; 40", None),
    "CT whole image, mean (SD)": ("80.2 (304.4)", None),
    "CBF whole image, mean (SD)": ("83.5 (228.5)", None),
    "CBV whole image, mean (SD)": ("11.9 (32.9)", None),
    "MTT whole image, mean (SD)": ("2.5 (4.6)", None),
    "Tmax whole image, mean (SD)": ("1.3 (3.5)", None),
    "lesion share of the image; slices without lesion": ("-", None),
}


@dataclass
class CaseFigures:
    """What is measured on one case; volumes in mL, times in s."""

    lesion_ml: float  #: reference volume
    tmax6_ml: float  #: volume of smoothed Tmax > 6 s among valid voxels
    overlaps: dict[str, tuple[float, float, float, float]]  #: (Dice, precision, recall, predicted mL) by row name
    inside: tuple[float, float]  #: lesion mL among valid voxels, and the part of it with smoothed Tmax > 6 s
    auc: float  #: area under the ROC curve of rCBF, valid voxels
    sample: tuple[np.ndarray, np.ndarray]  #: (rCBF, in lesion) of a fixed sample of valid voxels
    healthy: tuple[float, float]  #: medians of MTT and Tmax on the side without lesion
    moments: dict[str, tuple[float, float, float]]  #: by kind, number, sum and sum of squares over the whole image
    ct_counts: np.ndarray  #: voxels of 1, 2, ..., 79 HU
    largest: tuple[float, ...]  #: largest value of each of `KINDS`
    lesion_voxels: int
    voxels: int
    empty_slices: int
    slices: int


def gaussian(image: np.ndarray, mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """In-plane Gaussian of `FWHM_MM` that sees only the mask (X, Y, Z)."""
    sigma = [FWHM_MM / 2.3548 / spacing_mm[0], FWHM_MM / 2.3548 / spacing_mm[1], 0.0]
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    return ndimage.gaussian_filter(np.where(mask, image, 0).astype(np.float32), sigma) / np.maximum(weight, 1e-6)


def brain_mask(images: dict[str, np.ndarray]) -> np.ndarray:
    """Largest component of voxels with 0 < CT <= 100 HU or any map above 0."""
    ct = images["CT"]
    anything = (ct > 0) & (ct <= 100)
    for kind in KINDS[1:]:
        anything |= images[kind] > 0
    labels, count = ndimage.label(anything)
    if count == 0:
        return anything
    return labels == 1 + np.bincount(labels.ravel())[1:].argmax()


def valid_mask(images: dict[str, np.ndarray], brain: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Brain without CSF, vessels and margin; the widths in pixels hold at 256 x 256 and shrink with the image."""
    size = brain.shape[0] / 256
    cross = ndimage.generate_binary_structure(2, 1)[..., None]

    def grow(mask: np.ndarray, pixels: float) -> np.ndarray:
        steps = round(pixels * size)
        return ndimage.binary_dilation(mask, cross, iterations=steps) if steps else mask

    fluid = brain & (gaussian(images["CT"], brain, spacing_mm) < 20)
    vessels = brain & (images["CT_CBF"] > np.percentile(images["CT_CBF"][brain], 99))
    return brain & ~grow(fluid, 2) & ~grow(vessels, 2) & ~grow(~brain, 3)


def left_of_midline(ct: np.ndarray, brain: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """True on one side of the line about which the brain's CT is most symmetric; shape (X, Y)."""
    profile = np.where(brain, 50.0 + ct, 0.0).mean(axis=2)
    x = (np.arange(ct.shape[0]) - (ct.shape[0] - 1) / 2) * spacing_mm[0]
    y = (np.arange(ct.shape[1]) - (ct.shape[1] - 1) / 2) * spacing_mm[1]
    coarse = np.stack(np.meshgrid(np.arange(-100, 101, 4.0), np.arange(-110, 111, 4.0), indexing="ij"))
    profile = ndimage.gaussian_filter(profile, [3 / spacing_mm[0], 3 / spacing_mm[1]])

    def read(points: np.ndarray) -> np.ndarray:
        index = [points[0] / spacing_mm[0] + (ct.shape[0] - 1) / 2, points[1] / spacing_mm[1] + (ct.shape[1] - 1) / 2]
        return ndimage.map_coordinates(profile, index, order=1)

    original = read(coarse).ravel()

    def similarity(angle: float, shift: float) -> float:
        normal = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        distance = normal[0] * coarse[0] + normal[1] * coarse[1] - shift
        mirrored = read(coarse - 2 * distance * normal[:, None, None]).ravel()
        return float(np.corrcoef(original, mirrored)[0, 1])

    best = max((similarity(a, s), a, s) for a in np.arange(-12, 13, 3.0) for s in np.arange(-15, 16, 3.0))
    best = max(
        (similarity(best[1] + a, best[2] + s), best[1] + a, best[2] + s)
        for a in (-2, -1, 0, 1, 2)
        for s in (-2, -1, 0, 1, 2)
    )
    angle, shift = np.deg2rad(best[1]), best[2]
    return np.cos(angle) * x[:, None] + np.sin(angle) * y[None, :] - shift > 0


def relative_cbf(cbf: np.ndarray, valid: np.ndarray, left: np.ndarray) -> np.ndarray:
    """CBF over the median of the valid voxels of the opposite side."""
    sides = np.broadcast_to(left[..., None], cbf.shape)
    relative = np.ones_like(cbf)
    for side in (sides, ~sides):
        other = cbf[valid & ~side]
        relative[side] = cbf[side] / max(float(np.median(other)) if other.size else 1.0, 1e-6)
    return relative


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive has a higher score than a negative, ties count half; nan without both."""
    count = int(positive.sum())
    if count in (0, positive.size):
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (positive.size - count)))


def overlap(prediction: np.ndarray, reference: np.ndarray, voxel_ml: float) -> tuple[float, float, float, float]:
    """Dice, precision, recall (0 where undefined) and predicted mL."""
    hit, predicted, true = (int(mask.sum()) for mask in (prediction & reference, prediction, reference))
    return 2 * hit / max(predicted + true, 1), hit / max(predicted, 1), hit / max(true, 1), predicted * voxel_ml


def opened(mask: np.ndarray) -> np.ndarray:
    """Opened with a cross, slice by slice."""
    return ndimage.binary_opening(mask, ndimage.generate_binary_structure(2, 1)[..., None])


def without_small(mask: np.ndarray, voxel_ml: float) -> np.ndarray:
    """Without components below 1 mL."""
    labels, _ = ndimage.label(mask)
    large = np.bincount(labels.ravel()) * voxel_ml >= 1.0
    large[0] = False
    return large[labels]


def measure(case: Case, reference_path: Path) -> CaseFigures:
    """All figures of a case."""
    volumes = {kind: read_volume(case.images[kind]) for kind in KINDS}
    images = {kind: volume.data.astype(np.float32) for kind, volume in volumes.items()}
    spacing, voxel_ml = volumes["CT"].spacing_mm, volumes["CT"].voxel_ml
    lesion = read_volume(reference_path).data > 0
    brain = brain_mask(images)
    valid = valid_mask(images, brain, spacing)
    left = left_of_midline(images["CT"], brain, spacing)
    relative = relative_cbf(gaussian(images["CT_CBF"], valid, spacing), valid, left)
    late = gaussian(images["CT_Tmax"], valid, spacing) > 6
    predictions = {
        "T38": opened(valid & (relative < 0.38)),
        "T30": opened(valid & (relative < 0.30)),
        "RAPID": without_small(opened(valid & (relative < 0.30) & late), voxel_ml),
        "background": np.zeros_like(lesion),
    }
    lesion_left = (lesion & left[..., None]).sum() > lesion.sum() / 2
    healthy = valid & (~left[..., None] if lesion_left else left[..., None])
    step = max(1, int(0.5 / voxel_ml / 20))
    return CaseFigures(
        lesion_ml=float(lesion.sum()) * voxel_ml,
        tmax6_ml=float((valid & late).sum()) * voxel_ml,
        overlaps={name: overlap(mask, lesion, voxel_ml) for name, mask in predictions.items()},
        inside=(float((lesion & valid).sum()) * voxel_ml, float((lesion & valid & late).sum()) * voxel_ml),
        auc=area_under_curve(-relative[valid], lesion[valid]),
        sample=(relative[valid][::step], lesion[valid][::step]),
        healthy=(float(np.median(images["CT_MTT"][healthy])), float(np.median(images["CT_Tmax"][healthy]))),
        moments={
            k: (v.size, float(v.sum(dtype=float)), float((v.astype(float) ** 2).sum())) for k, v in images.items()
        },
        ct_counts=np.bincount(images["CT"][(images["CT"] > 0) & (images["CT"] < 80)].astype(int), minlength=80)[1:],
        largest=tuple(float(images[kind].max()) for kind in KINDS),
        lesion_voxels=int(lesion.sum()),
        voxels=lesion.size,
        empty_slices=int((~lesion.any(axis=(0, 1))).sum()),
        slices=lesion.shape[2],
    )


def summarise(figures: Sequence[CaseFigures]) -> dict[str, tuple[str, float]]:
    """The table's cells by row: the text of each, and the number that the accepted range judges."""
    lesion = np.array([f.lesion_ml for f in figures])
    tmax6 = np.array([f.tmax6_ml for f in figures])
    rows = {name: np.array([f.overlaps[name] for f in figures]) for name in figures[0].overlaps}
    t38, ratio = rows["T38"], tmax6 / lesion
    inside = sum(f.inside[1] for f in figures) / sum(f.inside[0] for f in figures)
    pooled = area_under_curve(
        -np.concatenate([f.sample[0] for f in figures]), np.concatenate([f.sample[1] for f in figures])
    )
    aucs = np.array([f.auc for f in figures])

    def quartiles(values: np.ndarray, digits: int) -> str:
        low, high = np.percentile(values, [25, 75])
        return f"{low:.{digits}f}-{high:.{digits}f}"

    def moments(kind: str) -> str:
        count, total, squares = np.array([f.moments[kind] for f in figures]).sum(axis=0)
        return f"{total / count:.1f} ({np.sqrt(squares / count - (total / count) ** 2):.1f})"

    ct_shares = np.cumsum(sum(f.ct_counts for f in figures))
    ct_shares = ct_shares / ct_shares[-1]
    quarter, half, three_quarters, most = (1 + int((ct_shares < share).sum()) for share in (0.25, 0.5, 0.75, 0.95))

    texts = {
        "lesion mL, median": f"{np.median(lesion):.1f}",
        "lesion mL, quartiles": quartiles(lesion, 1),
        "lesion mL, mean": f"{lesion.mean():.1f}",
        "lesion mL, smallest and largest": f"{lesion.min():.2f}-{lesion.max():.1f}",
        "lesion volume, mean and SD of ln mL": f"{np.log(lesion).mean():.2f}, {np.log(lesion).std():.2f}",
        "T38 Dice, mean": f"{t38[:, 0].mean():.3f}",
        "T38 Dice, SD; median": f"{t38[:, 0].std():.2f}; {np.median(t38[:, 0]):.2f}",
        "T38 precision; recall": f"{t38[:, 1].mean():.2f}; {t38[:, 2].mean():.2f}",
        "T38 volume difference mL, mean": f"{np.abs(t38[:, 3] - lesion).mean():.1f}",
        "T38 Dice below 0.01, share of cases": f"{(t38[:, 0] < 0.01).mean():.2f}",
        "rCBF AUC, voxels pooled": f"{pooled:.3f}",
        "rCBF AUC, mean over cases": f"{np.nanmean(aucs):.3f}",
        "lesion inside smoothed Tmax > 6 s": f"{inside:.3f}",
        "all-background Dice": f"{rows['background'][:, 0].mean():g}",
        "T30 Dice; RAPID-like Dice": f"{rows['T30'][:, 0].mean():.2f}; {rows['RAPID'][:, 0].mean():.2f}",
        "Tmax > 6 s mL, median": f"{np.median(tmax6):.1f}",
        "Tmax > 6 s mL, quartiles": quartiles(tmax6, 1),
        "Tmax > 6 s over lesion, median (quartiles)": f"{np.median(ratio):.2f} ({quartiles(ratio, 2)})",
        "Spearman, Tmax > 6 s and lesion mL": f"{stats.spearmanr(tmax6, lesion).statistic:.2f}",
        "healthy side MTT; Tmax s, median": "; ".join(
            f"{v:.1f}" for v in np.median([f.healthy for f in figures], axis=0)
        ),
        "lesion share of the image; slices without lesion": (
            f"{sum(f.lesion_voxels for f in figures) / sum(f.voxels for f in figures):.1%}; "
            f"{sum(f.empty_slices for f in figures) / sum(f.slices for f in figures):.0%}"
        ),
    }
    texts["CT between 0 and 80 HU, quartiles; 95 %"] = f"{quarter}-{half}-{three_quarters}; {most}"
    texts["largest CT; CBF; CBV; MTT; Tmax"] = "; ".join(
        f"{v:.0f}" for v in np.max([f.largest for f in figures], axis=0)
    )
    texts |= {f"{kind.removeprefix('CT_')} whole image, mean (SD)": moments(kind) for kind in KINDS}
    judged = {name: float(texts[name]) for name, (_, accepted) in REAL.items() if accepted}
    return {name: (texts[name], judged.get(name, float("nan"))) for name in REAL}


def measure_cohort(root: Path, references: Path) -> dict[str, dict[str, tuple[str, float]]]:
    """Summaries of a twin by column heading: its training cases, and its test cases where there are any."""
    arguments = json.loads((root / "twin.json").read_text(encoding="utf-8"))
    columns = {}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for partition, count in (("training", arguments["cases"]), ("testing", arguments["test_cases"])):
            if count:
                cases = read_cohort(root, partition).cases  # type: ignore[arg-type]
                paths = [case.reference or references / f"{case.name}.nii" for case in cases]
                heading = f"size {arguments['size']}, seed {arguments['seed']}, {len(cases)} {partition}"
                columns[heading] = summarise(list(pool.map(measure, cases, paths)))
    return columns


def table(columns: dict[str, dict[str, tuple[str, float]]]) -> str:
    """The Markdown table; a figure outside the accepted range is marked with (!)."""
    lines = [
        "| figure | real | accepted | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for name, (real, accepted) in REAL.items():
        cells = []
        for summary in columns.values():
            text, value = summary[name]
            cells.append(text if not accepted or accepted[0] <= value <= accepted[1] else f"{text} (!)")
        span = "-".join(f"{bound:g}" for bound in dict.fromkeys(accepted or ()))
        lines.append(f"| {name} | {real} | {span} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(case: Case, path: Path) -> None:
    """A picture of the slice with the most lesion: CT and maps with the reference's outline."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    assert case.reference is not None
    lesion = read_volume(case.reference).data > 0
    layer = int(lesion.sum(axis=(0, 1)).argmax())
    figure, axes = plt.subplots(1, 5, figsize=(15, 3.4), layout="constrained")
    windows = {"CT": (0, 80, "gray"), "CT_CBF": (0, 700, "turbo"), "CT_CBV": (0, 60, "turbo")}
    windows |= {"CT_MTT": (0, 20, "turbo"), "CT_Tmax": (0, 15, "turbo")}
    for axis, (kind, (low, high, colours)) in zip(axes, windows.items(), strict=True):
        picture = axis.imshow(read_volume(case.images[kind]).data[..., layer].T, vmin=low, vmax=high, cmap=colours)
        axis.contour(lesion[..., layer].T, [0.5], colors="white", linewidths=1.2)
        axis.set_title(kind.removeprefix("CT_"), fontsize=11)
        axis.axis("off")
        figure.colorbar(picture, ax=axis, shrink=0.75)
    figure.suptitle(f"{case.name} (synthetic), slice {layer + 1} of {lesion.shape[2]}", fontsize=11)
    save(figure, path, dpi=75)


def draw_cohort(cohort: Cohort, path: Path, rows: int = 4) -> None:
    """A picture of the first cases with a lesion: each image in its own slice with the most lesion, seen from above."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn: list[tuple[Case, Volume]] = []
    for case in cohort.cases:
        assert case.reference is not None
        if len(drawn) < rows and (reference := read_volume(case.reference)).data.any():
            drawn.append((case, reference))
    kinds = cohort.images
    figure, axes = plt.subplots(
        len(drawn), len(kinds), figsize=(2.7 * len(kinds), 2.9 * len(drawn)), layout="constrained", squeeze=False
    )
    for row, (case, reference) in zip(axes, drawn, strict=True):
        for axis, kind in zip(row, kinds, strict=True):
            volume = read_volume(case.images[kind.name])
            affine, onto = (affine_of(each.header, each.spacing_mm) for each in (reference, volume))
            assert affine is not None
            assert onto is not None
            share = resampled(reference.data, affine, volume.data.shape, onto)
            image, share = (to_canonical(data, onto) for data in (volume.data.astype(float), share))
            layer = int(share.sum(axis=(0, 1)).argmax())
            image *= kind.to_unit(image) if kind.to_unit else 1.0
            low, high = kind.shown or (0.0, float(np.nanpercentile(image[..., layer], 99.7)))
            axis.imshow(image[..., layer].T, vmin=low, vmax=high, cmap="gray", origin="lower")
            axis.contour(share[..., layer].T, [0.5 * float(share.max())], colors="red", linewidths=0.8)
            shape = "x".join(map(str, volume.data.shape))
            orientation = "".join(nib.aff2axcodes(onto))
            axis.set_title(f"{kind.name} {shape} {orientation}", fontsize=8)
            axis.axis("off")
    figure.suptitle(f"{cohort.format.title}, synthetic: {', '.join(case.name for case, _ in drawn)}", fontsize=9)
    save(figure, path, dpi=75)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; with ``--out``, update the README and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cohorts", nargs="+", type=Path, metavar="COHORT")
    parser.add_argument("--references", type=Path, help="references of the test cases (COHORT/TESTING_REFERENCES)")
    parser.add_argument("--out", type=Path, help="folder of the README and the pictures")
    options = parser.parse_args(arguments)
    cohorts = [read_cohort(root, "training") for root in options.cohorts]
    of_2018 = [cohort for cohort in cohorts if cohort.format is FORMAT]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for cohort in cohorts:
            if cohort.format is not FORMAT:
                draw_cohort(cohort, options.out / f"{cohort.format.name}.png")
    if not of_2018:
        return
    columns: dict[str, dict[str, tuple[str, float]]] = {}
    for cohort in of_2018:
        columns |= measure_cohort(cohort.root, options.references or cohort.root / "TESTING_REFERENCES")
    text = table(columns)
    sys.stdout.write(text + "\n")
    if options.out:
        for case in of_2018[0].cases:
            if case.number in PICTURED:
                draw(case, options.out / f"{case.name}.png")
        readme = options.out / "README.md"
        if not readme.is_file():
            write_text(readme, "\n".join([*MARKERS, ""]))
        write_page(readme, MARKERS, text)


if __name__ == "__main__":
    main()
