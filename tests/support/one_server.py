"""One fork server for all suites that a test process runs: it imports torch and Lightning once, not for each suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.launchers.fork_server import ForkServer


class OneServer(ForkServer):
    """A server that its launcher cannot close; jobs import their own method."""

    _kept: OneServer | None = None

    def close(self) -> None:
        """See `end`: the next suite uses it."""

    @classmethod
    def get(cls, environment: Mapping[str, str], modules: Sequence[str]) -> OneServer:
        """The one that runs; a new one where there is none yet, or where a test killed it."""
        if cls._kept is None or cls._kept._process.poll() is not None:
            cls.end()
            cls._kept = cls(environment)
        return cls._kept

    @classmethod
    def end(cls) -> None:
        """End it, if there is one."""
        if cls._kept is not None:
            ForkServer.close(cls._kept)
            cls._kept = None
