"""A synthetic twin of ISLES 2018: invented patients in the real cohort's tree, for tests and for trying out.

No patient data is in it, and a result on it is never a result on ISLES. The modules follow the recipe's order:
`layout` (which cases, on which grid), `template` and `anatomy` (heads), `lesion` (the stroke), `perfusion` (blood and
contrast agent), `maps` (what the scanner's software computes), `patient` (one patient from end to end) and `write`
(the tree). ``docs/twin/README.md`` holds the recipe, its sources, and figures beside the real ones.
"""

from benchmark.cohort.twin.write import write_twin

__all__ = ["write_twin"]
