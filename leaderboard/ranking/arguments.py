"""The options of a command that ranks."""

from __future__ import annotations

import argparse

from leaderboard.columns import CORE_METRICS
from leaderboard.command_line import Parser
from leaderboard.ranking.options import DEFAULTS, RankingOptions
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.resampling import UNITS
from leaderboard.ranking.schemes import SCHEMES

#: A million resamples of 63 patients take 120 MB, and tell no more than 100,000.
_MOST_RESAMPLES = 1_000_000


def add_ranking_options(parser: Parser) -> None:
    """Give a parser the options of `RankingOptions`."""
    add, default = parser.add_argument, "(default: %(default)s)"
    own = ", ".join(scheme.name for scheme in SCHEMES.values() if scheme.metric)
    add("--scheme", choices=tuple(SCHEMES), default=DEFAULTS.scheme, help=f"how to rank {default}")
    add("--policy", choices=tuple(POLICIES), default=DEFAULTS.policy, help=f"what undefined values count {default}")
    add(
        "--metrics",
        type=_names,
        metavar="A,B,...",
        help=f"what the schemes other than {own} rank by (default: {','.join(CORE_METRICS)}); any other column with "
        "its direction, as in seconds:lower",
    )
    add("--unit", choices=UNITS, default=DEFAULTS.unit, help=f"what is resampled, with all its cases {default}")
    several = "default: %(default)s; 0: no uncertainty"
    add("--resamples", type=_resamples, default=DEFAULTS.resamples, metavar="N", help=several)
    add("--seed", type=_natural, default=DEFAULTS.seed, metavar="K", help=f"of the resamples {default}")


def ranking_options(arguments: argparse.Namespace) -> RankingOptions:
    """What was chosen; `arguments.fail` is called where the choices do not go together."""
    if arguments.metrics and SCHEMES[arguments.scheme].metric:
        arguments.fail(f"--metrics needs a --scheme other than {arguments.scheme}")
    return RankingOptions(
        scheme=arguments.scheme,
        policy=arguments.policy,
        metrics=arguments.metrics or CORE_METRICS,
        unit=arguments.unit,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0: correct it")
    return int(text)


def _resamples(text: str) -> int:
    number = _natural(text)
    if number > _MOST_RESAMPLES:
        raise argparse.ArgumentTypeError(
            f"{text} is more than {_MOST_RESAMPLES}, the most that are allowed: take fewer"
        )
    return number


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names with commas between them: correct it")
    return names
