"""The same work, with processes and without."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from leaderboard import parallel as pool
from leaderboard.errors import InputError
from leaderboard.parallel import run_tasks, workers


def process_and_square(number):
    return os.getpid(), number**2


def slow(number):
    time.sleep(0.05)
    return os.getpid()


def sees_interrupts(number):
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def die(number):
    os._exit(1)


def told_to_end(folder):
    (folder / str(os.getpid())).open("a").write("x")
    os.kill(os.getpid(), signal.SIGTERM)


def deaf(number):
    with contextlib.suppress(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(100)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The functions above, by a name under which another process finds them too."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))  # noqa: PTH120
    for function in (process_and_square, slow, die, sees_interrupts, told_to_end, deaf):
        monkeypatch.setattr(function, "__module__", "test_parallel")
    monkeypatch.setitem(__import__("sys").modules, "test_parallel", __import__("sys").modules[__name__])


@pytest.mark.parametrize("jobs", [1, 2, None])
def test_every_task_is_done_once_and_told(jobs):
    calls = []
    found = dict(run_tasks(process_and_square, range(7), jobs=jobs, progress=lambda *call: calls.append(call)))
    assert {number: square for number, (_, square) in found.items()} == {number: number**2 for number in range(7)}
    assert calls[-1] == (7, 7)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert {process != os.getpid() for process, _ in found.values()} == {jobs == 2}


def test_all_cores_are_taken_once_that_pays(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 2)
    monkeypatch.setattr(pool, "START_SECONDS", 0.5)
    calls = []
    processes = dict(run_tasks(slow, range(40), progress=lambda *call: calls.append(call)))
    assert sorted(processes) == list(range(40))
    assert processes[0] == os.getpid()
    assert processes[39] != os.getpid()
    assert calls[0] == (1, 40)
    assert calls[-1] == (40, 40)


def test_no_process_is_started_for_little_work(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 64)
    assert {process for _, (process, _) in run_tasks(process_and_square, range(90))} == {os.getpid()}


def test_no_tasks_are_no_work():
    assert list(run_tasks(process_and_square, [], jobs=None)) == []
    assert list(run_tasks(process_and_square, [], jobs=2)) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_no_process_sees_an_interrupt_from_its_very_start():
    assert set(dict(run_tasks(sees_interrupts, range(4), jobs=2)).values()) == {False}
    assert sees_interrupts(0)  # the caller does
    # nor the first one of a fresh program, which starts multiprocessing's helpers (they unblock signals)
    script = (
        "import functools, signal\nfrom leaderboard.parallel import run_tasks\n"
        "blocked = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK)\n"
        "print([signal.SIGINT in found for _, found in run_tasks(blocked, [[], [], []], jobs=2)], blocked([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[True, True, True] set()\n"


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom leaderboard.parallel import run_tasks\nprint(sorted(run_tasks(math.sqrt, [1, 4], jobs=2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[(0, 1.0), (1, 2.0)]\n", "")


def test_threads_that_submit_at_once_leave_the_callers_script_in_its_place(monkeypatch):
    script = sys.modules["__main__"]
    monkeypatch.setattr(ProcessPoolExecutor, "submit", lambda *_: time.sleep(0.2))
    with ThreadPoolExecutor(2) as threads, workers(1) as processes:
        first = threads.submit(processes.submit, print)
        time.sleep(0.1)
        threads.submit(processes.submit, print).result()
        first.result()
    assert sys.modules["__main__"] is script


def test_a_process_that_dies_is_an_input_error():
    with pytest.raises(InputError, match="a process died"):
        list(run_tasks(die, range(3), jobs=2))
    with pytest.raises(InputError, match="a process died"), workers(1) as processes:
        processes.submit(die, 0).result()


def test_a_process_that_is_told_to_end_takes_no_further_task(tmp_path):
    with pytest.raises(InputError, match="a process died"):
        list(run_tasks(told_to_end, [tmp_path] * 9, jobs=2))
    assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


def test_a_process_that_is_told_to_end_ends_even_if_its_task_does_not():
    began = time.monotonic()
    with pytest.raises(InputError, match="a process died"):
        list(run_tasks(deaf, range(2), jobs=2))
    assert time.monotonic() - began < 60  # END_SECONDS and two starts; the task takes 100


def test_a_caller_that_is_told_to_end_twice_ends(tmp_path):  # `timeout` signals its command and then the whole group
    script = (
        "import signal, sys, time\nfrom leaderboard.parallel import run_tasks\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "print(list(run_tasks(time.sleep, [0.1] + [3] * 99, jobs=2, progress=lambda *_: print('begun', flush=True))))\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    caller.stdout.readline()
    caller.terminate()
    time.sleep(0.05)
    os.killpg(caller.pid, signal.SIGTERM)
    try:
        assert caller.wait(timeout=30) in (143, -signal.SIGTERM)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(caller.pid, signal.SIGKILL)


@pytest.mark.skipif(not pathlib.Path("/proc").is_dir(), reason="asks /proc which processes run")
def test_processes_end_with_a_caller_that_is_killed():
    script = (
        "import multiprocessing, time\nfrom leaderboard.parallel import run_tasks\n"
        "tell = lambda *_: print(*[process.pid for process in multiprocessing.active_children()], flush=True)\n"
        "list(run_tasks(time.sleep, [0.1] + [300] * 9, jobs=2, progress=tell))\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    processes = {int(number) for number in caller.stdout.readline().split()}
    assert processes
    caller.kill()
    caller.wait()
    until = time.monotonic() + 30
    while any(map(runs, processes)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(map(runs, processes))


def runs(process):
    try:
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_more_processes_start_than_there_are_cores(monkeypatch):
    asked = []
    monkeypatch.setattr(pool, "cores", lambda: 2)
    monkeypatch.setattr(pool, "workers", lambda processes: asked.append(processes) or nothing())

    @contextlib.contextmanager
    def nothing():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(run_tasks(process_and_square, range(100), jobs=5000))
    assert asked == [2]
