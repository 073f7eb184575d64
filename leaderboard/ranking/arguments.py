"""The options of a command that ranks."""

from __future__ import annotations

import argparse

from leaderboard.columns import CORE_METRICS
from leaderboard.command_line import Parser
from leaderboard.presets import PRESETS
from leaderboard.ranking.options import DEFAULTS, MOST_RESAMPLES, RankingOptions
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.resampling import UNITS
from leaderboard.ranking.schemes import SCHEMES

#: The scheme if metrics are named but no scheme.
_BY_METRICS = "mean-then-rank"


def add_ranking_options(parser: Parser) -> None:
    """Give a parser the options of `RankingOptions`."""
    add, default = parser.add_argument, "(default: %(default)s)"
    own = ", ".join(scheme.name for scheme in SCHEMES.values() if scheme.metric)
    chosen = f"(default: {DEFAULTS.scheme}; where --metrics names others, {_BY_METRICS})"
    add(
        "--preset",
        choices=tuple(PRESETS),
        help="the rules of a challenge: its metrics, scheme and policy (instead of --scheme, --policy and --metrics)",
    )
    add("--scheme", choices=tuple(SCHEMES), help=f"how to rank {chosen}")
    add_policy(parser)
    add(
        "--metrics",
        type=names,
        metavar="A,B,...",
        help=f"what the schemes other than {own} rank by (default: those of {','.join(CORE_METRICS)} that the tables "
        "have); any other column with its direction, as in seconds:lower",
    )
    add_unit(parser)
    several = "default: %(default)s; 0: no uncertainty"
    add("--resamples", type=_resamples, default=DEFAULTS.resamples, metavar="N", help=several)
    add("--seed", type=_natural, default=DEFAULTS.seed, metavar="K", help=f"of the resamples {default}")
    add(
        "--simultaneous", action="store_true", help="sets of ranks that all hold at once with 95 %%, not each by itself"
    )


def add_policy(parser: Parser) -> None:
    """Give a parser ``--policy``."""
    text = f"what undefined values count (default: {DEFAULTS.policy})"
    parser.add_argument("--policy", choices=tuple(POLICIES), help=text)


def add_unit(parser: Parser) -> None:
    """Give a parser ``--unit``."""
    text = "what is resampled, with all its cases (default: %(default)s)"
    parser.add_argument("--unit", choices=UNITS, default=DEFAULTS.unit, help=text)


def ranking_options(arguments: argparse.Namespace) -> RankingOptions:
    """The chosen options; calls `arguments.fail` if they do not go together."""
    drawn = {name: getattr(arguments, name) for name in ("unit", "resamples", "seed", "simultaneous")}
    if arguments.preset:
        for name in ("scheme", "policy", "metrics"):
            if getattr(arguments, name):
                arguments.fail(f"--{name} does not go with --preset, which has its own: leave one of them out")
        return RankingOptions.of_preset(arguments.preset, **drawn)
    metrics = tuple(arguments.metrics or ())
    others = bool(metrics) and metrics != (SCHEMES[DEFAULTS.scheme].metric,)
    scheme = arguments.scheme or (_BY_METRICS if others else DEFAULTS.scheme)
    own = SCHEMES[scheme].metric
    if metrics and own and metrics != (own,):
        arguments.fail(f"--metrics {','.join(metrics)} needs a --scheme other than {scheme}")
    return RankingOptions(scheme=scheme, policy=arguments.policy or DEFAULTS.policy, metrics=metrics, **drawn)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0: correct it")
    return int(text)


def _resamples(text: str) -> int:
    number = _natural(text)
    if number > MOST_RESAMPLES:
        raise argparse.ArgumentTypeError(f"{text} is more than {MOST_RESAMPLES}, the most that are allowed: take fewer")
    return number


def names(text: str) -> list[str]:
    """The names between commas."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names with commas between them: correct it")
    return found
