"""Synthetic twins of cohorts: invented patients in the real cohorts' trees, for tests and for trying out.

No patient data is in them, and a result on one is never a result on ISLES. The modules follow the recipe's order:
`layout` (which cases of ISLES 2018, on which grid), `template` and `anatomy` (heads), `lesion` (the stroke),
`perfusion` (blood and contrast agent), `maps` (what the scanner's software computes), `patient` (one patient from end
to end), `mri` (what magnetic resonance shows of one) and `placed` (images with a place in space). A module a format
says what lies where (`isles2018`, `isles2022`, `isles2024`; `tree` is what they have in common), and `write` writes it.
``docs/twin/README.md`` holds the recipes, their sources, and figures beside the real ones.
"""

from benchmark.cohort.twin.write import write_twin

__all__ = ["write_twin"]
