"""Does a method have what a training will ask of it? Found before anything is made, without calling it."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from benchmark.methods.base import Method, RuleMethod
from benchmark.methods.faults import definition_of, unlike
from benchmark.pipeline.preparation import Preparation
from benchmark.rundir.names import is_plain_name
from leaderboard.io.tables import name_fault

#: What is called, and with which arguments.
HOOKS = {
    "configure_network": ("channels",),
    "loss": ("logits", "batch"),
    "probability": ("logits",),
    "predict_images": ("image",),
    "postprocess": ("probability", "batch"),
    "curriculum": ("max_epochs",),
    "configure_optimizers": (),
    "rule": ("batch",),
    "fit_case": ("batch",),
    "fit_finish": (),
}
PREPARATION = {
    "positions": ("depth", "spacing_mm"),
    "image": ("image", "brain", "planes"),
    "reference": ("reference", "planes"),
    "inverse": ("probability", "shape", "spacing_mm"),
}


def contract_faults(method: Method) -> list[str]:
    """What a method lacks, and which of its hooks take other arguments than they will be called with.

    Args:
        method: as its config builds it.

    Returns:
        A line a fault, with the file and line of the user's own definition.
    """
    kind = type(method)
    place = f"{definition_of(kind)}: {kind.__name__}"
    if "preparation" not in vars(method) or "_passes" not in vars(method):
        return [f"{place} is half made: call super().__init__() first in its __init__"]
    if not isinstance(method.preparation, Preparation):
        return [f"{place}.preparation is {method.preparation!r}: give a benchmark.pipeline.preparation.Preparation"]
    faults: list[str] = []
    if method.view not in ("slices", "volumes"):
        faults.append(f"{place}.view is {method.view!r}: give slices or volumes")
    needed: dict[str, type] = {"configure_network": Method, "loss": Method, "configure_optimizers": pl.LightningModule}
    if isinstance(method, RuleMethod):
        needed = {"rule": RuleMethod}
    faults += [
        f"{place} has no {name}: write {name}({', '.join(('self', *HOOKS[name]))})"
        for name, base in needed.items()
        if getattr(kind, name) is getattr(base, name)
    ]
    faults += [
        f"{place}.{name} is {getattr(method, name)!r}: write {name}({', '.join(('self', *HOOKS[name]))})"
        for name in HOOKS
        if hasattr(method, name) and not callable(getattr(method, name))
    ]
    faults += [f"{place}.ablations: {fault}" for fault in _ablation_faults(method.ablations)]
    for owner, hooks in ((method, HOOKS), (method.preparation, PREPARATION)):
        called = {name: getattr(owner, name, None) for name in hooks}
        faults += [fault for name, hook in called.items() if callable(hook) and (fault := unlike(hook, *hooks[name]))]
    return faults


def _ablation_faults(names: Any) -> list[str]:
    """What is wrong with the names of a method's ablation rows: they are parts of names of rows and folders."""
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        return [f"is {names!r}: give a tuple of names"]
    faults = [f"{name!r} {fault}" for name in names if (fault := name_fault(name))]
    faults += [f"{name!r} is part of a folder's name: give one without /" for name in names if not is_plain_name(name)]
    if len(set(names)) < len(names):
        faults.append("names one twice: remove one")
    return faults
