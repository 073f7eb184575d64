"""Scoring programs for challenge platforms: their layouts in, their result files out, and the way back.

One module a platform: `grand_challenge`, `codabench`, `evalai`; `evaluation` does what is common to all.
"""

#: As ``--platform`` takes them.
NAMES = ("grand-challenge", "codabench", "evalai")
