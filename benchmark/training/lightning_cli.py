"""LightningCLI for methods and cohorts: one parser for jobs and for ``benchmark fit`` and ``predict``."""

from __future__ import annotations

import logging
import os
import re
import warnings
from typing import Any

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # these warnings concern Lightning, not the user

from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from benchmark.methods.base import Method, RuleMethod
from benchmark.pipeline.datamodule import StrokeData
from benchmark.training.callbacks import PredictionWriter
from benchmark.training.checkpoints import AtomicCheckpoints
from leaderboard.errors import InputError

#: Warnings that are useless to the reader of a job's log.
_EXPECTED = (
    ".*args parameter is intended to run from within Python.*",
    "(?s).*Unable to serialize instance.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*`srun` command is available.*",  # a launcher's jobs start without it
    ".*dirpath has changed from.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*recommended to use `self.log.*sync_dist=True.*",  # about values that are the same in every process
)


#: Useless remarks: about hardware that is there, and advertisements.
_REMARKS = re.compile(r"[GTH]PU available|LOCAL_RANK|try installing \[")


def _says_something(remark: logging.LogRecord) -> bool:
    return not _REMARKS.search(remark.getMessage())


class SuiteCLI(LightningCLI):
    """LightningCLI whose model is any method (by class path) and whose data is a fold of a cohort."""

    def __init__(self, **options: Any) -> None:
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message)
        logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_says_something)
        super().__init__(
            Method,
            StrokeData,
            subclass_mode_model=True,
            save_config_callback=None,
            seed_everything_default=0,
            **options,
        )

    def before_predict(self) -> None:
        """Refuse to predict with an untrained network."""
        if self.config["predict"]["ckpt_path"] is None and not isinstance(self.model, RuleMethod):
            raise InputError("benchmark predict: the network is untrained: give --ckpt_path, a checkpoint of a fit")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Accept the suite's own sections, so that ``benchmark fit`` takes a run's config.yaml."""
        parser.add_argument("--suite", type=dict, default={}, help="what the suite noted about this job")
        parser.add_argument("--requires", type=dict, default={}, help="modules that the method needs: how to install")
        parser.add_argument("--needs", type=list[str], default=[], help="what the cohort's images must show")
        parser.add_lightning_class_args(PredictionWriter, "predictions")


def trainer_defaults() -> dict[str, Any]:
    """Trainer settings that hold for every job unless its config says otherwise."""
    return {
        "deterministic": True,
        "use_distributed_sampler": False,  # our samplers know about ranks; Lightning's would repeat cases
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 10,
        "plugins": [AtomicCheckpoints()],
    }
