"""A process that has imported everything and is copied for each job, so that no job imports.

Importing torch, Lightning and W&B takes longer than the shortest jobs compute. The server (``python -m benchmark
serve``) imports them once and forks a process for each job, which then behaves as if started by ``python -m benchmark
job RUN ...``, with its environment, log and signals. The server itself computes nothing and touches no GPU, since
neither OpenMP's threads nor CUDA would survive the fork.

Over a socket the server reports that it is ready and then answers requests, one line of JSON each way: a job is
answered by the id of its process, an id by the exit status of that process, or null while it runs. The server ends when
the launcher does; the jobs go on without it, and hold their locks.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmark.machine.memory import keeping_memory

#: Exit status assumed for a process that ended after its server was killed.
UNSEEN = 255
#: What a job that logs to W&B would import late: when W&B starts, which takes seconds, and for a picture.
WITH_WANDB = ("wandb", "wandb.sdk.launch.inputs.internal", "matplotlib.figure", "matplotlib.backends.backend_agg")


class ForkServer:
    """The launcher's side: starts the server and asks it for processes.

    Args:
        environment: of the server; its copies inherit settings that are read only when a program starts (malloc's).
        modules: to import besides `benchmark.training.job`, if they are installed.
    """

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmark", "serve", str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=keeping_memory(environment), pass_fds=[theirs.fileno()], preexec_fn=_outlive_signals,
            )  # fmt: skip
        self._socket = ours
        self._lines = ours.makefile("rw", encoding="utf-8")
        self._ready = False

    def start(self, runs: Sequence[Path], environment: Mapping[str, str], log: Path) -> ForkedProcess:
        """Start a process that runs the jobs of these run directories; waits until the server has imported everything.

        Args:
            runs: run directories.
            environment: the process's whole environment.
            log: file that its output is appended to.

        Raises:
            ConnectionError: the server is gone, or could not start.
        """
        if not self._ready:
            self._ready = bool(self._answer())
        request = {"runs": [str(run) for run in runs], "environment": dict(environment), "log": str(log)}
        request |= {"folder": str(Path.cwd())}
        return ForkedProcess(self, int(self.ask(request)))

    def ask(self, request: object) -> Any:
        """The server's answer to one request; Ctrl-C is held back until it is read, or the next request would get it.

        Raises:
            ConnectionError: the server is gone.
        """
        with _uninterrupted():
            try:
                self._lines.write(json.dumps(request) + "\n")
                self._lines.flush()
            except (OSError, ValueError) as error:
                raise ConnectionError(f"the fork server is gone: {error}") from None
            return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._lines.readline()
        except (OSError, ValueError) as error:
            raise ConnectionError(f"the fork server is gone: {error}") from None
        if not answer:
            raise ConnectionError("the fork server is gone")
        return json.loads(answer)

    def close(self) -> None:
        """End the server; processes that it started go on."""
        with suppress(OSError):  # closing flushes, which fails if the server is gone
            self._lines.close()
        self._socket.close()
        self._process.kill()  # it may still be importing
        self._process.wait()


class ForkedProcess:
    """A process that a server started, with the methods of `subprocess.Popen` that the launcher uses.

    The server reaps it only when `poll` asks, so until then no other process gets its id.
    """

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            try:
                self.returncode = self._server.ask(self.pid)
            except ConnectionError:
                if not _is_there(self.pid):
                    self.returncode = UNSEEN
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit status; waits for the end.

        Raises:
            subprocess.TimeoutExpired: it has not ended within the timeout, in seconds.
        """
        until = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("benchmark job", timeout)
            time.sleep(0.02)
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """SIGINT and SIGTERM are handled at the end of this context."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _is_there(pid: int) -> bool:
    """Whether a process that is not our child still runs; a zombie does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _outlive_signals() -> None:
    """Ctrl-C reaches every process of a terminal, but the launcher still needs the server to learn how its jobs end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def serve(connection: int, modules: Sequence[str]) -> list[str] | None:
    """The server's side: import, then fork whenever asked to.

    Args:
        connection: file descriptor of its socket.
        modules: see `ForkServer`.

    Returns:
        In a new process, the arguments that ``benchmark`` continues with; in the server, at its end, None.
    """
    gc.disable()  # nothing imported is garbage; frozen, it is skipped by the copies' collectors: its pages stay shared
    import_module("benchmark.training.job")
    for name in modules:
        with suppress(Exception):  # the job will report it
            import_module(name)
    folders = [found for found in gc.get_objects() if isinstance(found, tempfile.TemporaryDirectory)]
    gc.freeze()
    with socket.socket(fileno=connection) as link, link.makefile("rw", encoding="utf-8") as lines:
        lines.write("true\n")
        lines.flush()
        for line in lines:
            request = json.loads(line)
            if isinstance(request, int):
                answer = _exit_status(request)
            elif (answer := os.fork()) == 0:
                break
            lines.write(json.dumps(answer) + "\n")
            lines.flush()
        else:
            return None
    return _begin(request, folders)


def _exit_status(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _begin(request: Mapping[str, Any], folders: Sequence[tempfile.TemporaryDirectory[str]]) -> list[str]:
    """Become the requested process: take its arguments, environment, folder, output, signals and temporary folders.

    W&B makes such folders when it is imported. Copies would share them, and the first to end would remove them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(request["folder"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = [place for place in _python_path() if place not in sys.path]
    for folder in folders:
        folder.__init__()  # type: ignore[misc]
    _use_environments_threads()
    arguments = ["job", *request["runs"]]
    sys.argv[1:] = arguments
    return arguments


def _python_path() -> list[str]:
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def _use_environments_threads() -> None:
    """Set the number of threads to ``OMP_NUM_THREADS``, which OpenMP itself reads only when it is loaded."""
    import torch

    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(threads) > 0:
        torch.set_num_threads(int(threads))
