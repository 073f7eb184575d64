"""What a suite's YAML says, and the config of each of its methods."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.machine.precision import with_precision
from benchmark.rundir.names import ENSEMBLE, is_plain_name, row_name
from benchmark.rundir.trust import OBJECTS
from benchmark.suite.config_files import find_method, merge, read_yaml
from leaderboard.cohort.formats import FORMATS, Cohort
from leaderboard.errors import InputError, nearest
from leaderboard.io.tables import name_fault, shown

#: Epochs between two checkpoints.
EVERY_EPOCHS = 1
#: What rows may average: the trainings of a method, and methods.
ENSEMBLES = ("seeds", "methods")
#: The largest seed of a training (NumPy takes 32 bits).
_LARGEST_SEED = 2**32 - 1
_KEYS = {
    "name", "seed", "seeds", "cohort", "folds", "methods", "defaults", "overrides", "wandb",
    "checkpoint_every_n_epochs", "threads", "jobs_per_gpu", "note", "probabilities", "ensembles",
}  # fmt: skip
_SECTIONS = ("seed_everything", "model", "trainer", "data", "optimizer", "lr_scheduler", "requires", "needs")
#: Settings of the section ``data`` that the suite makes itself, and what to give in their place.
_OWNED = {
    "cohort": "give --cohort",
    "format": "give --format",
    "folds": "name a fold file under folds in the suite's config",
    "fold": "give --folds",
    "cache": "it lies below --out",
    "seed": "set seed, or seeds, in the suite's config",
    "allow_leaky_folds": "give --allow-leaky-folds",
}
_TWIN_KEYS = {"cases", "size", "seed", "format"}


@dataclass(frozen=True)
class SuiteConfig:
    """What a suite's YAML says.

    Attributes:
        path: the file.
        name: of the suite, and of its folder under the output folder.
        seed: of the folds; without `seeds`, of the trainings too.
        seeds: of the trainings: weights, order, augmentation and dropout. Each method is trained with each of them;
            empty trains it once, with `seed`.
        twin: arguments of the synthetic cohort; None where the suite needs a cohort that is given.
        format: of the cohort that is given, one of `FORMATS`; None recognises it.
        folds_file: fold file, relative to the config's folder; None where folds are made.
        folds_number: how many folds are made.
        folds_by: ``centre`` makes each centre a fold; ``case`` deals cases whoever their patients are, which leaks;
            None deals patients.
        methods: their names, in order.
        defaults: config of every job (sections ``trainer``, ``data``); a method's own config goes over it.
        overrides: further config by method.
        wandb: whether jobs log to W&B.
        checkpoint_every_n_epochs: how often a job saves, at an epoch's end.
        threads: of a job on CPUs; as many jobs then run at a time as the cores allow. None: one job, all cores.
        jobs_per_gpu: how many share a GPU of this machine. None: as many as its memory and the cores allow, up to four.
        launchers: settings of launchers, by their names; each launcher checks its own.
        probabilities: whether jobs write probability maps beside their masks.
        ensembles: which rows that average probability maps are made, of `ENSEMBLES`.
        note: what whoever reads its results must know, one line; said on the page and below the leaderboard.
    """

    path: Path
    name: str
    methods: tuple[str, ...]
    seed: int = 0
    seeds: tuple[int, ...] = ()
    twin: dict[str, Any] | None = None
    format: str | None = None
    folds_file: str | None = None
    folds_number: int = 5
    folds_by: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    wandb: bool = True
    checkpoint_every_n_epochs: int = EVERY_EPOCHS
    threads: int | None = None
    jobs_per_gpu: int | None = None
    launchers: dict[str, dict[str, Any]] = field(default_factory=dict)
    probabilities: bool = True
    ensembles: tuple[str, ...] = ()
    note: str = ""

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """The seeds that each method is trained with."""
        return self.seeds or (self.seed,)

    @property
    def has_seeds(self) -> bool:
        """Whether there are several, so that run directories and results name the seed."""
        return len(self.seeds) > 1


def read_suite(path: Path, launchers: Collection[str] = ()) -> SuiteConfig:
    """Read and check a suite's config.

    Args:
        path: the file.
        launchers: names of sections that it may have beside its own, one for each launcher.

    Raises:
        InputError: with every fault of the file.
    """
    content = read_yaml(path)
    known = _KEYS | set(launchers)
    faults = [
        f"unknown setting {key}: {nearest(str(key), known)}choose among {', '.join(sorted(known))}"
        for key in content
        if key not in known
    ]
    methods = content.get("methods")
    if not isinstance(methods, list) or not methods or not all(isinstance(name, str) for name in methods):
        faults.append("methods must be a list of method names: add it")
    elif len(set(methods)) < len(methods):
        faults.append("methods names one twice: remove one")
    else:
        faults += [f"the method {shown(method)} {fault}" for method in methods if (fault := name_fault(method))]
    name = content.get("name", path.stem)
    if not isinstance(name, str) or not is_plain_name(name) or name.startswith("."):
        faults.append(f"name {name!r} is no folder name: correct it")
    sections: dict[str, dict[str, Any]] = {}
    for key in ("cohort", "folds", "defaults", "overrides", *launchers):
        value = {} if content.get(key) is None else content[key]
        if not isinstance(value, dict):
            faults.append(f"{key} must be a mapping: correct it")
            value = {}
        sections[key] = value
    twin, form = sections["cohort"].get("twin"), sections["cohort"].get("format")
    if form is not None and form not in FORMATS:
        faults.append(f"cohort.format: there is no format {form}: choose among {', '.join(FORMATS)}")
    if twin is not None and not (isinstance(twin, dict) and {"cases", "size"} <= set(twin) <= _TWIN_KEYS):
        faults.append(f"cohort.twin takes {', '.join(sorted(_TWIN_KEYS))}: correct it")
    if isinstance(twin, dict) and "format" in twin:
        faults += _format_faults(twin["format"])
    by = sections["folds"].get("by")
    if not set(sections["folds"]) <= {"file", "number", "by"} or (
        len(sections["folds"]) > 1 and (by != "case" or "file" in sections["folds"])
    ):
        faults.append("folds takes one of file, number and by (number beside by: case too): correct it")
    if by not in (None, "centre", "case"):
        faults.append("folds.by must be centre, or case: correct it")
    named = methods if isinstance(methods, list) else []
    for method in [method for method in sections["overrides"] if method not in named]:
        try:
            find_method(str(method), path)
        except InputError as error:  # mistyped: what it sets would be lost
            faults += [f"overrides: {problem}" for problem in error.problems]
    layers = {"defaults": sections["defaults"]}
    layers |= {f"overrides.{method}": settings for method, settings in sections["overrides"].items()}
    for name_of, settings in layers.items():
        faults += [f"{name_of}: {fault}" for fault in section_faults({} if settings is None else settings)]
    numbers = {
        "seed": (content.get("seed", 0), 0),
        "folds.number": (sections["folds"].get("number", 5), 2),
        "checkpoint_every_n_epochs": (content.get("checkpoint_every_n_epochs", EVERY_EPOCHS), 1),
        **{key: (content[key], 1) for key in ("threads", "jobs_per_gpu") if content.get(key) is not None},
        **{
            f"cohort.twin.{key}": (value, 0)
            for key, value in (twin if isinstance(twin, dict) else {}).items()
            if key != "format"
        },
    }
    faults += [
        f"{key} must be a whole number, at least {least}: correct it"
        for key, (value, least) in numbers.items()
        if not isinstance(value, int) or isinstance(value, bool) or value < least
    ]
    faults += _seeds_faults(content.get("seeds", [0]))
    for key in ("wandb", "probabilities"):
        if not isinstance(content.get(key, True), bool):
            faults.append(f"{key} must be true or false: correct it")
    faults += _ensembles_faults(content.get("ensembles", False), content)
    if not isinstance(content.get("note", ""), str):
        faults.append("note must be a text: correct it")
    if faults:
        raise InputError(f"{path}: {fault}" for fault in faults)
    return SuiteConfig(
        path=path,
        name=name,
        methods=tuple(methods or ()),
        seed=content.get("seed", 0),
        seeds=tuple(content.get("seeds", ())),
        twin=twin,
        format=form,
        folds_file=sections["folds"].get("file"),
        folds_number=sections["folds"].get("number", 5),
        folds_by=sections["folds"].get("by"),
        defaults=sections["defaults"],
        overrides=sections["overrides"],
        wandb=content.get("wandb", True),
        checkpoint_every_n_epochs=content.get("checkpoint_every_n_epochs", EVERY_EPOCHS),
        threads=content.get("threads"),
        jobs_per_gpu=content.get("jobs_per_gpu"),
        launchers={name: sections[name] for name in launchers},
        probabilities=content.get("probabilities", True),
        ensembles=_ensembles(content.get("ensembles", False)),
        note=" ".join(content.get("note", "").split()),
    )


def _seeds_faults(seeds: Any) -> list[str]:
    numbers = seeds if isinstance(seeds, list) else []
    whole = all(type(seed) is int and 0 <= seed <= _LARGEST_SEED for seed in numbers)
    if not numbers or not whole:
        return [f"seeds must be a list of whole numbers from 0 to {_LARGEST_SEED}, as in [0, 1, 2]: correct it"]
    return ["seeds names one twice: remove one"] if len(set(numbers)) < len(numbers) else []


def _ensembles(given: Any) -> tuple[str, ...]:
    """The kinds that ``ensembles`` asks for: all, none, or those of a list."""
    return (ENSEMBLES if given else ()) if isinstance(given, bool) else tuple(given)


def _ensembles_faults(given: Any, content: Mapping[str, Any]) -> list[str]:
    if not (isinstance(given, bool) or (isinstance(given, list) and all(kind in ENSEMBLES for kind in given))):
        return [f"ensembles must be true, false, or a list of {' and '.join(ENSEMBLES)}: correct it"]
    if not _ensembles(given):
        return []
    if content.get("probabilities") is False:
        return ["ensembles are made of probability maps: remove probabilities: false"]
    methods = content["methods"] if isinstance(content.get("methods"), list) else []
    taken = {ENSEMBLE, *(row_name(str(method), ENSEMBLE) for method in methods)}
    return [f"the method {name} has the name of an ensemble: rename it" for name in methods if name in taken]


def _format_faults(name: Any) -> list[str]:
    from benchmark.cohort.twin.write import TREES  # a second of imports, for the few suites that name a format

    known = isinstance(name, str) and name in TREES
    return [] if known else [f"cohort.twin.format: there is no twin of {name!r}: choose among {', '.join(TREES)}"]


def twin_arguments(twin: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `write_twin` that a suite names under ``cohort.twin``."""
    given = {"seed": 0, **twin}
    return {"format_name" if key == "format" else key: value for key, value in given.items()}


def section_faults(settings: Any) -> list[str]:
    """What is wrong with the shape of a job's config or a part of it: sections are mappings with known names."""
    if not isinstance(settings, dict):
        return ["must be a mapping of sections: correct it"]
    faults = [
        f"{key}: unknown section: {nearest(str(key), _SECTIONS)}choose among {', '.join(_SECTIONS)}"
        for key in settings
        if key not in _SECTIONS
    ]
    faults += [
        f"{key} must be a mapping: correct it"
        for key in settings
        if key in ("model", "trainer", "data", "requires") and not isinstance(settings[key], dict)
    ]
    needs = settings.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(name, str) for name in needs):
        faults.append("needs must be a list of what images show, such as [CT, Tmax]: correct it")
    trainer = settings.get("trainer")
    return faults + [
        f"trainer.{key}: jobs have their own, a config names none: remove it"
        for key, value in (trainer if isinstance(trainer, dict) else {}).items()
        if key in OBJECTS and value is not None
    ]


def command_line_faults(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the shape of the command line's settings, those that are the suite's own included."""
    if faults := section_faults(settings):
        return faults
    return [f"data.{key}: is the suite's own: {_OWNED[key]}" for key in settings.get("data", {}) if key in _OWNED]


def method_config(suite: SuiteConfig, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A method's config in a suite: the suite's defaults, the method's own, the suite's overrides, then `settings`.

    A precision that is left to the machine is decided here, so that a run directory's config names it.

    Raises:
        InputError: an unknown method, or a config of the wrong shape.
    """
    path = find_method(method, suite.path)
    own = read_yaml(path)
    if faults := section_faults(own):
        raise InputError(f"{path}: {fault}" for fault in faults)
    return with_precision(merge(suite.defaults, own, suite.overrides.get(method) or {}, settings))


def lacking(config: Mapping[str, Any]) -> list[str]:
    """What a method needs and this machine has not, each with its remedy (the config's section ``requires``)."""
    return [f"{module} ({remedy})" for module, remedy in config.get("requires", {}).items() if not _is_there(module)]


def unshown(config: Mapping[str, Any], cohort: Cohort) -> list[str]:
    """What a method needs to see and no image of a cohort shows (the config's section ``needs``)."""
    return [name for name in config.get("needs", []) if name not in cohort.shows]


def _is_there(module: str) -> bool:
    """Whether a module's package is installed; nothing of it is imported."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def is_rule(config: Mapping[str, Any]) -> bool:
    """Whether a job's method is a rule without weights; False too where its class is not found from here."""
    from benchmark.methods.base import RuleMethod

    found = _method_class(config)
    return found is not None and issubclass(found, RuleMethod)


def step_bytes(config: Mapping[str, Any]) -> int:
    """Memory of a training for each voxel of a batch of whole cases (`Method.step_bytes`); 0: it is not asked."""
    return int(getattr(_method_class(config), "step_bytes", 0))


def _method_class(config: Mapping[str, Any]) -> type | None:
    """The class that a config names; None where it is not found from here."""
    module, _, name = str(config.get("model", {}).get("class_path", "")).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception:  # a user's module may do what it likes
        return None
    return found if isinstance(found, type) else None
