"""Jobs that are copied from a process which has imported everything behave as if started alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from benchmark.launchers import local
from benchmark.launchers.fork_server import UNSEEN, ForkServer
from benchmark.launchers.local import LocalLauncher
from benchmark.machine.memory import keeping_memory
from benchmark.rundir.state import State, read_state, write_state
from benchmark.suite.config import SuiteConfig
from benchmark.suite.config_files import shipped_configs
from benchmark.suite.plan import Job
from benchmark.training.job import INTERRUPTED

pytestmark = pytest.mark.skipif(not local.FORKS, reason="elsewhere each job is started the plain way")

#: A user's module that a job imports: it reports what it sees, then does what its environment asks for.
SPY = """
import __main__, json, keeps, os, pathlib, signal, sys, threading, time, torch
print(json.dumps({
    "environment": dict(os.environ), "arguments": sys.argv, "main": __main__.__spec__.name,
    "input": sys.stdin.read(), "threads": torch.get_num_threads(), "python_threads": threading.active_count(),
    "handlers": [signal.getsignal(number).__module__ for number in (signal.SIGINT, signal.SIGTERM)],
    "tunables": "GLIBC_TUNABLES=" in pathlib.Path("/proc/self/environ").read_text(errors="replace"),
    "cuda": torch.cuda.is_initialized(), "temporary": keeps.FOLDER.name, "there": os.path.isdir(keeps.FOLDER.name),
}), flush=True)
if os.environ.get("SPY") == "die":
    os.kill(os.getpid(), signal.SIGKILL)
while os.environ.get("SPY") == "wait" and not pathlib.Path(__file__).with_name("end").exists():
    time.sleep(0.02)
"""

SUITE = SuiteConfig(Path("suite.yaml"), "suite", ("method",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the server, like that of a user's command, with the module `spy`."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "spy.py").write_text(SPY)
    (folder / "keeps.py").write_text("import tempfile\nFOLDER = tempfile.TemporaryDirectory()\n")
    return folder


def on_path(folder: Path) -> str:
    """``PYTHONPATH`` with a folder in front: the working directory of a process is not on its path."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ForkServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GLIBC_TUNABLES", raising=False)
        environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": on_path(folder)}
        server = ForkServer(environment, ["keeps", "no_such_module"])
    yield server
    server.close()


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A run directory whose job imports `spy`, and then fails, since there is no such method."""
    (folder / "end").unlink(missing_ok=True)
    return make_run(tmp_path / "fold0")


def make_run(run: Path) -> Path:
    run.mkdir(parents=True)
    config = {"model": {"class_path": "spy.Spy"}, "data": {"cohort": str(run)}, "suite": {"wandb": False}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_state(run, State())
    return run


def environment(**variables: str) -> dict[str, str]:
    return keeping_memory({"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}) | variables


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def said(run: Path) -> dict:
    log = run / "log.txt"
    wait_for(lambda: log.exists() and "\n" in log.read_text())
    return json.loads(log.read_text().splitlines()[0])


def test_a_forked_job_has_its_own_environment_arguments_log_and_signals(server: ForkServer, run: Path) -> None:
    own = environment(CUDA_VISIBLE_DEVICES="7", OMP_NUM_THREADS="1", SPY="x")
    process = server.start([run], own, run / "log.txt")
    assert process.wait(60) == 1
    found = said(run)
    assert found["environment"].items() >= own.items()
    assert not {"PYTEST_CURRENT_TEST", "PYTHONUNBUFFERED"} & found["environment"].keys()
    assert found["arguments"][1:] == ["job", str(run)]
    assert found["main"] == "benchmark.__main__"
    assert found["input"] == ""
    assert found["threads"] == 1
    assert found["python_threads"] == 1
    assert found["handlers"] == ["leaderboard.shell"] * 2  # those of every command, not the server's
    assert found["tunables"]  # of the program's start, since later ones do not count
    assert found["cuda"] is False
    state = read_state(run)
    assert state.status == "failed"
    assert state.reason in (run / "log.txt").read_text()


def test_jobs_run_side_by_side_and_how_each_ended_is_told(server: ForkServer, folder: Path, tmp_path: Path) -> None:
    (folder / "end").unlink(missing_ok=True)
    runs = [make_run(tmp_path / f"fold{fold}") for fold in range(3)]
    waits, dies, asked = (
        server.start([run], environment(SPY=what), run / "log.txt")
        for run, what in zip(runs, ("wait", "die", "wait"), strict=True)
    )
    assert dies.wait(60) == -signal.SIGKILL
    said(runs[2])
    assert waits.poll() is None
    asked.terminate()
    assert asked.wait(60) == 128 + signal.SIGTERM
    assert read_state(runs[2]).reason == INTERRUPTED
    with pytest.raises(subprocess.TimeoutExpired):
        waits.wait(0.1)
    (folder / "end").touch()
    assert waits.wait(60) == 1
    assert waits.poll() == 1
    waits.kill()  # which has ended: nothing happens


def test_the_jobs_of_one_process_fail_each_for_itself_and_speak_in_their_own_logs(
    server: ForkServer, tmp_path: Path
) -> None:
    runs = [make_run(tmp_path / f"fold{fold}") for fold in range(3)]
    (runs[1] / "config.yaml").write_text("nothing: [")
    assert server.start(runs, environment(), runs[0] / "log.txt").wait(60) == 1
    assert [read_state(run).status for run in runs] == ["failed", "pending", "failed"]
    assert "is not valid YAML" in (runs[1] / "log.txt").read_text()
    assert "spy" in (runs[2] / "log.txt").read_text()


def test_a_temporary_folder_of_an_imported_module_is_each_jobs_own(server: ForkServer, tmp_path: Path) -> None:
    found = []
    for fold in range(2):
        run = make_run(tmp_path / f"fold{fold}")
        assert server.start([run], environment(), run / "log.txt").wait(60) == 1
        found.append(said(run))
    assert all(seen["there"] for seen in found)
    assert found[0]["temporary"] != found[1]["temporary"]
    assert not any(Path(seen["temporary"]).exists() for seen in found)


def test_an_interrupt_from_the_terminal_leaves_the_server_to_tell_how_its_jobs_end(
    server: ForkServer, run: Path
) -> None:
    process = server.start([run], environment(SPY="wait"), run / "log.txt")
    said(run)
    for number in (signal.SIGINT, signal.SIGTERM):
        server._process.send_signal(number)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 128 + signal.SIGINT
    assert read_state(run).reason.startswith("interrupted")


def test_an_interrupt_amid_a_question_comes_after_its_answer(
    server: ForkServer, run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = server.start([run], environment(SPY="wait"), run / "log.txt")
    answer = server._answer

    def interrupted() -> object:
        signal.raise_signal(signal.SIGINT)
        return answer()

    monkeypatch.setattr(server, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.poll()
    monkeypatch.undo()
    (folder / "end").touch()
    assert process.wait(60) == 1


def test_jobs_outlive_their_server_and_the_launcher_sees_their_end(folder: Path, run: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", on_path(folder))
        server = ForkServer(os.environ)
        process = server.start([run], environment(SPY="wait"), run / "log.txt")
        said(run)
        server._process.kill()
        server._process.wait()
        assert process.poll() is None
        with pytest.raises(ConnectionError):
            server.start([run], environment(), run / "log.txt")
        (folder / "end").touch()
        assert process.wait(60) == UNSEEN
        assert read_state(run).status == "failed"  # said by the job itself
        server.close()


def test_a_server_that_was_killed_is_started_again_and_where_none_starts_jobs_are_plain_processes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    config = {"trainer": {"devices": 1}}
    jobs = [Job("spy", fold, make_run(tmp_path / f"fold{fold}"), config, "") for fold in range(2)]
    servers = []

    class Killed(ForkServer):
        """The first is killed before it starts anything."""

        def __init__(self, environment: dict[str, str], modules: list[str]) -> None:
            super().__init__(environment, modules)
            servers.append(self)
            if len(servers) == 1 or servers[0] is None:
                self._process.kill()

    monkeypatch.setattr(local, "ForkServer", Killed)
    LocalLauncher(SUITE, tmp_path).run(jobs[:1], lambda remarks: None)
    assert len(servers) == 2
    assert said(jobs[0].run)["main"] == "benchmark.__main__"
    servers[:] = [None]  # now each is killed
    LocalLauncher(SUITE, tmp_path).run(jobs[1:], lambda remarks: None)
    assert len(servers) == 3
    assert said(jobs[1].run)["main"] == "benchmark.__main__"


def test_a_killed_launcher_leaves_its_job_and_no_server(folder: Path, run: Path) -> None:
    work = f"""
import os, time
from pathlib import Path
from benchmark.launchers.fork_server import ForkServer
server = ForkServer(os.environ)
process = server.start([Path({str(run)!r})], dict(os.environ), Path({str(run / "log.txt")!r}))
print(server._process.pid, process.pid, flush=True)
time.sleep(60)
"""
    launcher = subprocess.Popen(
        [sys.executable, "-c", work],
        env=dict(os.environ) | {"SPY": "wait", "PYTHONPATH": on_path(folder)},
        stdout=subprocess.PIPE,
    )
    assert launcher.stdout is not None
    server, job = map(int, launcher.stdout.readline().split())
    said(run)
    launcher.kill()
    launcher.communicate()
    wait_for(lambda: not is_running(server))
    assert is_running(job)
    (folder / "end").touch()
    wait_for(lambda: read_state(run).status == "failed")


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_asks_for_a_gpu_or_leaves_a_thread_while_the_server_imports() -> None:
    """CUDA does not survive a fork once it was asked how many GPUs there are, Python's threads and locks neither."""
    work = """
import sys, threading, torch

def refuse(*arguments):
    raise AssertionError("CUDA was asked")

for name in ("is_available", "device_count", "init", "current_device"):
    setattr(torch.cuda, name, refuse)
from importlib import import_module
for name in ["benchmark.training.job", *sys.argv[1:]]:
    import_module(name)
print(threading.active_count(), torch.cuda.is_initialized())
"""
    configs = [yaml.safe_load(path.read_text()) for path in (shipped_configs() / "methods").glob("*.yaml")]
    names = local.modules([Job("method", 0, Path(), config, "") for config in configs])
    assert "benchmark.methods.strokenet" in names
    assert "wandb" in names
    found = subprocess.run([sys.executable, "-c", work, *names], capture_output=True, text=True)
    assert found.stdout == "1 False\n", found.stderr
