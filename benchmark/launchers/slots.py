"""How many jobs this machine runs at a time, and on what: GPUs, shared where they have room, and cores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmark.machine.capacity import gpu_memories, machine_memory, on_cpu
from benchmark.suite.plan import Job
from leaderboard.parallel import cores

#: Memory to allow for a job on CPUs, in bytes.
MEMORY = 4 * 2**30
#: GPU memory to allow for a job, in bytes. On crops of 160 x 160, `strokenet` took 8 GB; later it trains on whole
#: slices.
GPU_MEMORY = 20 * 10**9
#: Cores that a job on a GPU needs: one for its process, one for the threads that make noise for its batches.
GPU_CORES = 2
#: Most jobs that share a GPU, unless the suite says how many; more would slow each other down.
MOST_PER_GPU = 4


@dataclass(frozen=True)
class Slot:
    """A place for one process at a time."""

    gpu: int | None = None  #: number of the only GPU that its process sees, among the visible ones; None: all
    #: which jobs it takes: those on CPUs (where there are GPUs), those on GPUs, or any
    jobs: Literal["any", "cpu", "gpu"] = "any"

    def takes(self, config: Mapping[str, Any]) -> bool:
        """Whether a job of this config may run here."""
        return self.jobs == "any" or on_cpu(config) == (self.jobs == "cpu")

    def environment(self) -> dict[str, str]:
        """Environment variables of its processes."""
        found = {}
        if self.gpu is not None:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            found["CUDA_VISIBLE_DEVICES"] = visible.split(",")[self.gpu] if visible else str(self.gpu)
        if self.jobs == "cpu" or self.gpu is not None:
            found["OMP_NUM_THREADS"] = str(1 if self.jobs == "cpu" else GPU_CORES)
        return found


def slots_for(jobs: Sequence[Job], threads: int | None, jobs_per_gpu: int | None = None) -> list[Slot]:
    """The slots of this machine.

    With GPUs: `jobs_per_gpu` jobs on each, and jobs on CPUs, with one thread, on the cores left over (at least one).
    A job that takes several GPUs, or as many as there are, has them all to itself. Without GPUs: as many jobs as cores
    and memory allow.

    Args:
        jobs: the jobs to run.
        threads: of a job on CPUs; None: one job takes all cores.
        jobs_per_gpu: how many share a GPU; None: as many as its memory and the cores allow, up to `MOST_PER_GPU`.
    """
    memories = gpu_memories()
    on_gpu = [job for job in jobs if not on_cpu(job.config)]
    if not memories or not on_gpu:
        return [Slot()] * _at_a_time(jobs, threads)
    if _devices(on_gpu) == {"1"}:
        each = jobs_per_gpu or _per_gpu(memories, cores())
        slots = [Slot(gpu, "gpu") for _ in range(each) for gpu in range(len(memories))]
    else:
        slots = [Slot(jobs="gpu")]
    if len(on_gpu) < len(jobs):
        idle = max(cores() - GPU_CORES * len(slots), 1)
        slots += [Slot(jobs="cpu")] * max(min(idle, machine_memory() // MEMORY - len(slots)), 1)
    return slots


def _per_gpu(memories: Sequence[int], processors: int) -> int:
    """How many jobs share each of the GPUs: memory for all, and cores to feed them."""
    return max(min(min(memories) // GPU_MEMORY, processors // (GPU_CORES * len(memories)), MOST_PER_GPU), 1)


def _at_a_time(jobs: Sequence[Job], threads: int | None) -> int:
    """How many jobs on CPUs run at a time."""
    devices = _devices(jobs)
    if threads is None or not all(count.isdigit() for count in devices):
        return 1
    processes = max(map(int, devices), default=1)
    return max(1, min(cores() // (threads * processes), machine_memory() // (MEMORY * processes)))


def _devices(jobs: Sequence[Job]) -> set[str]:
    return {str(job.config.get("trainer", {}).get("devices", "auto")) for job in jobs}
