"""One patient's head: the template brain after a random affine and a random smooth warp, cut into slices.

Steps 1 and 2 of the recipe in docs/twin/README.md. Coordinates: `scanner` is the frame of the images (x to the
patient's left, y to the front, z up; 0 is the middle of the image). `head` is the frame in which the recipe gives its
positions (midline at x = 0; MNI = head + `HEAD_TO_MNI_MM` for a head of the template's size).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.cohort.twin.fields import Field, blur, smoothstep
from benchmark.cohort.twin.layout import Slab
from benchmark.cohort.twin.template import load_template

#: The head's centre, in MNI coordinates.
HEAD_TO_MNI_MM = np.array([0.0, -18.0, 2.0])
#: Mean size of a head, relative to the template: half axes of 68, 85 and 66 mm in the recipe.
_MEAN_SCALE = np.array([0.98, 0.98, 0.95])
#: Sampling inside a voxel: in plane at this step or finer (mm), along the slice's thickness at the other.
_PLANE_STEP_MM = 1.8
_SLICE_STEP_MM = 4.0
#: Bone begins this far outside the brain (subarachnoid space and dura).
_SKULL_GAP_MM = 1.5


@dataclass(frozen=True)
class Head:
    """What makes one patient's head: pose, size, shape and age."""

    rotation: np.ndarray  #: scanner from head, shape (3, 3)
    shift_mm: np.ndarray  #: position of the head's centre in the scanner
    scale: np.ndarray  #: size relative to the template, along x, y, z
    warps: tuple[Field, ...]  #: three coarse and three fine fields, the displacement along x, y and z
    folding: Field  #: field that shifts the borders between tissues
    skull_field: Field  #: field that thickens and thins the skull
    atrophy: float  #: about .5 (young) to 2 (old)
    ventricle_scale: float  #: size of the ventricles relative to the template
    scalp_mm: float  #: thickness of the scalp
    background_hu: float  #: HU of the air around the head in the written CT


@dataclass(frozen=True)
class Anatomy:
    """Tissue of one slab on the image grid; arrays of shape (Z, X, Y), float32 unless said otherwise."""

    grey: np.ndarray  #: grey matter fraction of a voxel
    white: np.ndarray  #: white matter fraction
    fluid: np.ndarray  #: CSF fraction inside the brain's surface
    brain: np.ndarray  #: bool, more than half of the voxel lies inside the brain's surface
    head_mm: np.ndarray  #: head coordinates of voxel centres, shape (3, Z, X, Y)
    depth_mm: np.ndarray  #: depth below the brain's surface, negative outside
    ventricle_mm: np.ndarray  #: distance to the ventricles, where `brain`, else 100
    outer_hu: np.ndarray  #: HU that CSF, skull, scalp and air outside the brain's surface add to the voxel
    head: np.ndarray  #: fraction of the voxel that is not air


def draw_head(rng: np.random.Generator) -> Head:
    """Draw a patient's head."""
    turn, pitch, roll = np.deg2rad(rng.normal(0, [4.0, 3.0, 2.0]))
    rotation = _rotation(2, turn) @ _rotation(0, pitch) @ _rotation(1, roll)
    shift = rng.normal(0, [3.0, 3.0, 0.0])
    scale = _MEAN_SCALE * np.clip(rng.normal(1, [0.035, 0.035, 0.04]), 0.9, 1.1)
    warps = tuple(Field(rng, sd) for sd in (22.0, 22.0, 22.0, 10.0, 10.0, 10.0))
    return Head(
        rotation=rotation,
        shift_mm=shift,
        scale=scale,
        warps=warps,
        folding=Field(rng, 4.0),
        skull_field=Field(rng, 20.0),
        atrophy=rng.uniform(0.5, 2.0),
        ventricle_scale=1.2 * rng.uniform(0.8, 1.5),
        scalp_mm=rng.uniform(4.0, 7.0),
        background_hu=float(rng.choice([-23.0, 0.0])),
    )


def cut_slab(head: Head, slab: Slab, centre_mm: float) -> Anatomy:
    """Cut a slab, whose middle lies at z = `centre_mm` in the scanner, out of a head; voxels average the tissue."""
    dx, dy, dz = slab.spacing_mm
    fold = max(1, int(np.ceil(dx / _PLANE_STEP_MM)))
    layers = max(1, round(dz / _SLICE_STEP_MM))
    fine = (np.arange(slab.size * fold) + 0.5) / fold - slab.size / 2
    x_fine, y_fine = fine * dx, -fine * dy
    slices = []
    for z in slab.z_mm(centre_mm):
        z_layers = z + dz * ((np.arange(layers) + 0.5) / layers - 0.5)
        stacks = _sample_layers(head, x_fine, y_fine, z_layers)
        slices.append([_block_mean(stack.mean(axis=0), fold) for stack in stacks])
    grey, white, fluid, depth, ventricle, outer_hu, air = (np.stack(maps) for maps in zip(*slices, strict=True))
    grey, white, fluid = (blur(maps, (dx, dy), np.sqrt(max(1.3**2 - dx**2 / 12, 0.0))) for maps in (grey, white, fluid))
    return Anatomy(
        grey=grey,
        white=white,
        fluid=fluid,
        brain=grey + white + fluid > 0.5,
        head_mm=_head_coordinates(head, slab.x_mm, slab.y_mm, slab.z_mm(centre_mm)),
        depth_mm=depth,
        ventricle_mm=ventricle,
        outer_hu=outer_hu,
        head=1.0 - air,
    )


def crop(anatomy: Anatomy, box: tuple[slice, slice]) -> Anatomy:
    """The same slab, only the pixels of a box in plane."""
    return Anatomy(**{name: values[..., box[0], box[1]] for name, values in vars(anatomy).items()})


def head_box(brain: np.ndarray) -> tuple[slice, slice]:
    """Smallest box in plane around all that is True in a (Z, X, Y) mask, with a margin of two pixels."""
    slices = []
    for axis in (1, 2):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(brain.any(axis=others))
        first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, 0)
        slices.append(slice(max(0, first - 2), min(brain.shape[axis], last + 3)))
    return slices[0], slices[1]


def _rotation(axis: int, angle: float) -> np.ndarray:
    """Rotation by `angle` (radians) about one axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def _head_coordinates(head: Head, x_mm: np.ndarray, y_mm: np.ndarray, z_mm: np.ndarray) -> np.ndarray:
    """Head coordinates of a scanner grid, warped; float32, shape (3, Z, X, Y)."""
    position = (
        np.asarray(x_mm, dtype=np.float32)[None, :, None],
        np.asarray(y_mm, dtype=np.float32)[None, None, :],
        np.asarray(z_mm, dtype=np.float32)[:, None, None],
    )
    shape = (len(z_mm), len(x_mm), len(y_mm))
    coordinates = np.empty((3, *shape), dtype=np.float32)
    for axis in range(3):
        turned = sum(
            np.float32(head.rotation[other, axis]) * (position[other] - np.float32(head.shift_mm[other]))
            for other in range(3)
        )
        warp = 2.0 * head.warps[axis].on_grid(z_mm, x_mm, y_mm) + 0.8 * head.warps[axis + 3].on_grid(z_mm, x_mm, y_mm)
        coordinates[axis] = turned + warp.astype(np.float32)
    return coordinates


def _to_mni(head: Head, head_mm: np.ndarray) -> np.ndarray:
    """MNI coordinates of head coordinates (3, N), the ventricles widened or narrowed."""
    mni = head_mm / head.scale[:, None].astype(np.float32) + HEAD_TO_MNI_MM[:, None].astype(np.float32)
    centre = np.array([0.0, -14.0, 14.0], dtype=np.float32)[:, None]
    offset = mni - centre
    squared = (offset**2 * np.array([1.0, 0.6, 1.0], dtype=np.float32)[:, None]).sum(axis=0)
    shrink = np.float32(1.0 - 1.0 / head.ventricle_scale)
    return mni - offset * (shrink * np.exp(-squared / np.float32(2 * 26.0**2)))


def _sample_layers(head: Head, x_mm: np.ndarray, y_mm: np.ndarray, z_mm: np.ndarray) -> tuple[np.ndarray, ...]:
    """Point samples of the head: grey, white, fluid, depth, ventricle distance, outer HU and air; (Z, X, Y) each."""
    template = load_template()
    shape = (len(z_mm), len(x_mm), len(y_mm))
    mni = _to_mni(head, _head_coordinates(head, x_mm, y_mm, z_mm).reshape(3, -1))
    depth = template.depth_at(mni) * np.float32(head.scale.mean())
    inside = depth > 0
    folding = head.folding.on_grid(z_mm, x_mm, y_mm).reshape(-1)[inside]

    grey, white = template.tissue_at(mni[:, inside])
    fluid = np.clip(1.0 - grey - white, 0.0, 1.0)
    # An average brain is blurred: squaring the probabilities gives one brain's sharper borders, and the folding
    # field moves them from patient to patient.
    grey = grey**3 * np.exp(0.9 * folding)
    white = white**3
    fluid = fluid**3 * np.exp(0.8 * (head.atrophy - 0.9) - 0.3 * folding) + 1e-4
    total = grey + white + fluid
    grey, white, fluid = grey / total, white / total, fluid / total
    sulcus = 1.0 - smoothstep((depth[inside] + 1.5 * folding - 0.8 * head.atrophy) / 1.0 + 0.5)
    grey, white, fluid = grey * (1 - sulcus), white * (1 - sulcus), fluid * (1 - sulcus) + sulcus

    maps = [np.zeros(depth.shape, dtype=np.float32) for _ in range(4)]
    for target, values in zip(maps, (grey, white, fluid, template.ventricle_distance_at(mni[:, inside])), strict=True):
        target[inside] = values
    maps[3][~inside] = 100.0
    thickness = 5.5 + 1.0 * head.skull_field.on_grid(z_mm, x_mm, y_mm).reshape(-1)
    outer_hu, air = _outside(-depth, thickness, head)
    ordered = (maps[0], maps[1], maps[2], depth, maps[3], outer_hu, air)
    return tuple(values.reshape(shape) for values in ordered)


def _outside(distance_mm: np.ndarray, thickness_mm: np.ndarray, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """HU outside the brain by distance from its surface: CSF, skull (two dense tables), scalp, air.

    Returns:
        HU (0 inside the brain) and 1.0 where air is, float32, the shape of `distance_mm`.
    """
    into_bone = (distance_mm - _SKULL_GAP_MM) / thickness_mm
    scalp_end = _SKULL_GAP_MM + thickness_mm + head.scalp_mm
    bone_hu = 900.0 + 950.0 * (2.0 * into_bone - 1.0) ** 2
    conditions = [distance_mm <= 0, into_bone < 0, into_bone < 1, distance_mm < scalp_end]
    values = [np.zeros_like(distance_mm), np.full_like(distance_mm, 12.0), bone_hu, np.full_like(distance_mm, 40.0)]
    hu = np.select(conditions, values, default=head.background_hu).astype(np.float32)
    return hu, (distance_mm >= scalp_end).astype(np.float32)


def _block_mean(image: np.ndarray, fold: int) -> np.ndarray:
    """Mean over blocks of fold x fold pixels; shape (X * fold, Y * fold) -> (X, Y)."""
    x, y = image.shape[0] // fold, image.shape[1] // fold
    return image.reshape(x, fold, y, fold).mean(axis=(1, 3))
