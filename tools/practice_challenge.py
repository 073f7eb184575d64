"""A challenge to practise on: teams whose submissions are references that were dilated, shifted or cut.

    python tools/practice_challenge.py REFERENCES DIR [--teams 30] [--preset isles2022]

REFERENCES is a folder of masks, such as ``TESTING_REFERENCES`` of a synthetic twin. DIR gets a challenge.yaml and a
folder for each team; then ``leaderboard challenge DIR`` ranks them. The first team's zip is damaged and the second's
has masks on a wrong grid, both after a sound one; the third leaves a case out. The same arguments give the same masks.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from leaderboard.errors import InputError
from leaderboard.io.images import read_volume, write_bytes, write_mask, write_text
from leaderboard.scoring.submission import mask_files

_STRUCTURE = ndimage.generate_binary_structure(3, 1)


def main(arguments: list[str] | None = None) -> int:
    """Write the challenge; exit status 1 if that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("references", type=Path, metavar="REFERENCES")
    parser.add_argument("out", type=Path, metavar="DIR")
    parser.add_argument("--teams", type=int, default=30)
    parser.add_argument("--preset", default="isles2022")
    chosen = parser.parse_args(arguments)
    try:
        write_challenge(chosen.references, chosen.out, chosen.teams, chosen.preset)
    except InputError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 1
    print(f"{chosen.out}: {chosen.teams} teams; leaderboard challenge {chosen.out}")
    return 0


def write_challenge(references: Path, out: Path, teams: int, preset: str) -> None:
    """Write challenge.yaml and the submissions."""
    masks = mask_files(references, nested=False)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "challenge.yaml", f"title: Practice\nreferences: {references.resolve()}\npreset: {preset}\n")
    for number in range(1, teams + 1):
        team = out / "submissions" / f"team {number:02d}"
        team.mkdir(parents=True, exist_ok=True)
        method = ("U-Net", "transformer", "threshold")[number % 3]
        write_text(
            team / "submission.yaml", f"method: {method} {number}\nfacts:\n  network: {method}\n  epochs: {number}\n"
        )
        submit(team / "v1.zip", masks[number == 3 :], number)
        if number == 1:
            write_bytes(team / "v2.zip", (team / "v1.zip").read_bytes()[:-40])
        if number == 2:
            submit(team / "v2.zip", masks, number, is_cut=True)


def submit(archive: Path, masks: list[Path], seed: int, *, is_cut: bool = False) -> None:
    """Write a zip of perturbed references.

    Args:
        archive: the zip.
        masks: the references, one for each case.
        seed: of what is done to them; the higher, the more is done.
        is_cut: whether every mask lacks its last slice, so that no grid fits.
    """
    generator = np.random.default_rng(seed)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in masks:
            volume = read_volume(path)
            mask = perturbed(volume.data > 0, generator, seed)
            mask = mask[..., :-1] if is_cut else mask
            single = archive.with_name(f".{path.name}")
            write_mask(single, mask, volume.header)
            file.write(single, path.name)
            single.unlink()


def perturbed(mask: np.ndarray, generator: np.random.Generator, strength: int) -> np.ndarray:
    """A mask that was dilated or cut by chance, shifted, and in one case of twelve dropped."""
    if generator.random() < 1 / 12:
        return np.zeros_like(mask)
    if generator.random() < 0.5:
        mask = ndimage.binary_dilation(mask, _STRUCTURE, iterations=int(generator.integers(1, 4)))
    else:
        mask = mask & (generator.random(mask.shape) > 0.4)
    steps = generator.integers(-1 - strength // 8, 2 + strength // 8, size=2)
    shifted: np.ndarray = np.roll(mask, tuple(steps), axis=(0, 1))
    return shifted


if __name__ == "__main__":
    sys.exit(main())
