"""Everything that only a GPU shows, by one command: the checks of ``nox -s gpu``, speed at full size, and nnU-Net.

    python tools/gpu.py --out OUT                       # all of it, about a quarter of an hour
    python tools/gpu.py --out OUT --only tests,speed    # in this order

Needs what ``pip install -c constraints.txt -e '.[train,dev]'`` installs, for `peers` also nnunetv2. Each step has a
time limit and logs in OUT; one that fails or is cut off leaves the others. The figures belong into
docs/performance.md, with the GPU's name.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
METHODS = "residual_unet,plain_unet,multiscale_resnet,ms_dcnn,strokenet,fcn3d_crf"
#: Groups of tests/benchmark/test_gpu.py that run beside each other.
GROUPS = (
    "fits or another", "alone", "killed", "float32_the or waits", "captured and bf16", "captured and float32",
)  # fmt: skip


def commands(out: Path) -> dict[str, list[tuple[str, list[str], dict[str, str]]]]:
    """Step -> what runs side by side in it: name, command and environment."""
    python = sys.executable
    tests = [python, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider", "tests/benchmark/test_gpu.py", "-k"]
    bench = [python, "-m", "pytest", "-m", "bench", "-v", "-s", "tests/bench/test_pipeline_speed.py", "-k", "share"]
    full = {"ISLES_BENCH_SUITE": "isles2018", "ISLES_BENCH_METHODS": METHODS}
    cost = [python, "-m", "benchmark", "cost", "--methods", METHODS, "--out", str(out / "costs.csv")]
    peers = [python, "tools/peers/nnunet.py", "--minutes", "2", "--device", "cuda", "--size", "256", "--cases", "94"]
    suite = [python, "-m", "benchmark", "run", "--config", "configs/twin-full.yaml", "--out", str(out / "runs")]
    return {
        "tests": [(f"tests{place}", [*tests, group], {"OMP_NUM_THREADS": "1"}) for place, group in enumerate(GROUPS)],
        "speed": [("speed", bench, full)],
        "cost": [("cost", cost, {})],
        "peers": [("peers", [*peers, "--work", str(out / "peers")], {})],
        "suite": [("suite", suite, {})],
    }


def run(out: Path, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start one process in the checkout, its output in OUT/<name>.log."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "WANDB_MODE": "disabled"}
    with (out / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**settings, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its jobs can be ended with it
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps, one after the other; exit status 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of logs and figures")
    parser.add_argument("--only", default="tests,speed,cost,peers", help="steps, of tests, speed, cost, peers, suite")
    parser.add_argument("--seconds", type=float, default=300, help="limit of each step (default: 300)")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    steps, failed = commands(out), False
    if unknown := set(options.only.split(",")) - set(steps):
        parser.error(f"no step is called {', '.join(sorted(unknown))}: choose among {', '.join(steps)}")
    for step in options.only.split(","):
        started = time.monotonic()
        processes = [(name, run(out, name, command, extra)) for name, command, extra in steps[step]]
        for name, process in processes:
            try:
                status = str(process.wait(max(started + options.seconds - time.monotonic(), 1)))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = "cut off"
            failed |= status != "0"
            print(f"{name}: {status}, {time.monotonic() - started:.0f} s, {out / name}.log", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
