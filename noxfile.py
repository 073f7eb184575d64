"""Sessions, `nox --list` shows them; what follows `--` goes on to what they run."""

import os
import shutil

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint", "typecheck"]
nox.options.reuse_existing_virtualenvs = True

PINS = ("-c", "constraints.txt")
#: What `resenc_unet` builds its network with, without what the library's other networks require.
RESENC = ("--no-deps", "dynamic-network-architectures")


@nox.session
def benchmark(session: nox.Session) -> None:
    """Train, predict, score and rank a suite; the embedded synthetic twin unless --config says otherwise."""
    session.install(*PINS, "-e", ".[train]")
    arguments = list(session.posargs)
    if not any(argument.split("=")[0] == "--config" for argument in arguments):
        arguments = ["--config", "configs/twin.yaml", *arguments]
    session.run("benchmark", "run", *arguments)


@nox.session
def leaderboard(session: nox.Session) -> None:
    """In an environment without torch: the tests and every committed leaderboard rebuilt, or the command after `--`."""
    session.install(*PINS, ".", "pytest", "hypothesis", "jsonschema")
    session.run("python", "-c", "import importlib.util as u; assert u.find_spec('torch') is None")
    if session.posargs:
        session.run("leaderboard", *session.posargs)
    else:
        session.run("pytest", "tests/leaderboard")
        session.run("python", "-m", "leaderboard.regenerate", "leaderboard/results")


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite against the installed wheel (not the checkout), so that what it needs must ship with it."""
    session.install(*PINS, ".[train,isles2024,dev]")
    session.install(*PINS, *RESENC)
    if any(map(shutil.which, ("c++", "g++", "clang++"))):  # what our dense CRF is compared with is built from source
        session.install(*PINS, "pydensecrf2", success_codes=[0, 1])
    # A worker a core, a thread each; what is chosen by hand (-m slow, a file) runs in one process. A hanging test ends
    # its worker and fails; another worker would begin that file again, and hang as well.
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spread = ["-n", str(min(workers, 8)), "--dist", "loadfile", "--no-loadscope-reorder"]
    limit = ["--max-worker-restart=0", "-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true"]
    arguments = session.posargs or [*spread, *limit]
    session.run("pytest", *arguments, env={} if session.posargs else {"OMP_NUM_THREADS": "1"})


@nox.session
def coverage(session: nox.Session) -> None:
    """Whether the confidence sets of ranks hold the truth: simulated challenges, about an hour."""
    session.install(*PINS, ".", "pytest", "hypothesis", "jsonschema")
    session.run("pytest", "-m", "slow", "-rA", "tests/leaderboard/ranking/test_coverage.py", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """Suites on the SLURM of this machine or login node; brings up none (.ci/slurm-up does, on Debian)."""
    if shutil.which("sbatch") is None:
        session.error("no SLURM here: run .ci/slurm-up as root on Debian, or go to a login node")
    session.install(*PINS, ".[train,slurm,dev]")
    session.run("pytest", "-m", "slurm", "tests/slurm", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """What only a GPU shows: every method there, as on the CPU, the same bytes again; one line where there is none."""
    session.install(*PINS, ".[train,dev]")
    session.install(*PINS, *RESENC)
    no_tests = 5  # the file is skipped whole
    session.run(
        "pytest", "-m", "gpu", "-rs", "tests/benchmark/test_gpu.py", *session.posargs, success_codes=[0, no_tests]
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's checks and its format."""
    session.install(*PINS, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types: mypy on both packages, tools/ and this file."""
    session.install(*PINS, "-e", ".[train,dev]")
    session.run("mypy", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, as ratios within one run; writes .benchmarks/bench.json."""
    session.install(*PINS, "-e", ".[train,dev]")
    session.run("pytest", "-m", "bench", "--benchmark-json=.benchmarks/bench.json", *session.posargs)
