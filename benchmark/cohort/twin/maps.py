"""Perfusion maps from enhancement curves, as the scanner's software makes them.

Step 10 of the recipe in docs/twin/README.md.

Block-circulant singular value decomposition (Wu et al., Magn Reson Med 2003): insensitive to the delay between the
arterial input and the tissue. Truncation at 0.15 of the largest singular value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import circulant

#: Singular values below this share of the largest are dropped.
TRUNCATION = 0.15
#: Tmax beyond this share of the scan is noise and set to 0.
LATEST_TMAX = 0.95
#: Longest MTT and Tmax that a map shows, s.
LONGEST_SHOWN_S = 40.0
#: The stored CBF and CBV are whole numbers in these units (about ten times ml/100 ml(/min)).
STORED_SCALE = 10.0


@dataclass(frozen=True)
class Maps:
    """Perfusion maps of voxels, float32, shape (N,)."""

    cbf: np.ndarray  #: ml/100 ml/min
    cbv: np.ndarray  #: ml/100 ml
    mtt_s: np.ndarray  #: 0 to 40
    tmax_s: np.ndarray  #: 0 to 40


def inverse_of(aif_hu: np.ndarray, frame_s: float, truncation: float = TRUNCATION) -> np.ndarray:
    """Matrix that turns a tissue curve into its residue function, scaled by CBF / 6000.

    Args:
        aif_hu: arterial enhancement at each frame, shape (T,).
        frame_s: time between frames.
        truncation: share of the largest singular value below which singular values are dropped.

    Returns:
        float32, shape (2 T, T): the curve's padding with T zeros is built in.
    """
    frames = aif_hu.size
    padded = np.concatenate([aif_hu, np.zeros(frames)])
    u, s, vt = np.linalg.svd(frame_s * circulant(padded))
    kept = s > truncation * s[0]
    inverse = (vt[kept].T / s[kept]) @ u[:, kept].T
    return inverse[:, :frames].astype(np.float32)


def perfusion_maps(curves: np.ndarray, aif_hu: np.ndarray, frame_s: float) -> Maps:
    """Deconvolve enhancement curves.

    CBF = 6000 max R, Tmax = argmax R, CBV = 100 sum C / sum AIF, MTT = 60 CBV / CBF.

    Args:
        curves: HU, float32, shape (T, N).
        aif_hu: arterial enhancement at each frame, shape (T,).
        frame_s: time between frames.
    """
    residue = inverse_of(aif_hu, frame_s) @ curves
    latest = residue.argmax(axis=0)
    cbf = np.float32(6000) * np.take_along_axis(residue, latest[None], axis=0)[0].clip(0.0)
    cbv = (np.float32(100.0 / aif_hu.sum()) * curves.sum(axis=0)).clip(0.0)
    mtt = (60.0 * cbv / np.maximum(cbf, np.float32(1e-3))).clip(0.0, LONGEST_SHOWN_S)
    tmax = latest.astype(np.float32) * np.float32(frame_s)
    tmax[tmax > min(LATEST_TMAX * aif_hu.size * frame_s, LONGEST_SHOWN_S)] = 0.0
    return Maps(cbf, cbv, mtt, tmax)
