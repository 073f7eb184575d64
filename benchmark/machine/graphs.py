"""A network's training pass as CUDA graphs.

A step of these networks is hundreds of small operations, most of which a GPU finishes before the host has issued the
next one; a graph issues them all at once. torch captures it (`torch.cuda.make_graphed_callables`): the same kernels in
the same order give the same bits, with one exception: the gradient of the outputs comes in their own layout, in which a
bias's gradient may be summed in another order (7e-9, seen in one network in float32). Every training on a GPU uses
graphs, so two trainings agree.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn

#: Held while a pass is captured: meanwhile no other thread may call the driver.
_QUIET = threading.Lock()

#: Passes before the capture, in which libraries set themselves up.
WARM_UP = 2


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor in memory from which a GPU copies while the host goes on; unchanged for other devices. Thread-safe."""
    if device.type != "cuda":
        return tensor
    with _QUIET:
        return tensor.pin_memory()


class SideStream:
    """A second stream of a GPU, which works beside the current one.

    Args:
        device: a GPU; on other devices this does nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def follow(self) -> None:
        """Later work of this stream waits for what the current stream holds now."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))

    def join(self, *tensors: Tensor) -> None:
        """Later work of the current stream waits for what this one holds now, and may use these tensors of it."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self._stream.device)
            current.wait_stream(self._stream)
            for tensor in tensors:
                tensor.record_stream(current)

    def current(self) -> AbstractContextManager[Any]:
        """A context whose work goes to this stream."""
        return torch.cuda.stream(self._stream)  # a context of None does nothing


class Passes:
    """Forward and backward passes of one network, captured once for each shape of its input.

    Only for a network that takes the same steps for all images of a shape: it looks at no value and does not leave the
    device. Passes share their memory, so the result of one, and its gradients, are valid until the next. While a pass
    is captured nobody may hold a loss of the same weights with its graph: keep losses detached.
    """

    def __init__(self) -> None:
        self._captured: dict[Any, nn.Module] = {}
        self._pool: Any = None

    def __call__(self, network: nn.Module, image: Tensor) -> Any:
        """The network's output for an image on a GPU, in training."""
        # A graph knows weights by their address: once they have moved (to the host and back), it must be captured anew.
        place = next(network.parameters()).data_ptr()
        key = (place, image.shape, image.dtype, torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"))
        if key not in self._captured:
            self._captured[key] = self._capture(network, image)
        return self._captured[key](image)

    def _capture(self, network: nn.Module, image: Tensor) -> nn.Module:
        """A module that replays the passes; running statistics and random numbers stay where they were."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        random = torch.cuda.get_rng_state(image.device)
        uncached = torch.autocast(
            "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), cache_enabled=False
        )
        with _QUIET, uncached:
            captured = torch.cuda.make_graphed_callables(
                _Pass(network), (image.clone(),), num_warmup_iters=WARM_UP, allow_unused_input=True, pool=self._pool
            )
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        torch.cuda.set_rng_state(random, image.device)
        return cast(nn.Module, captured)


class _Pass(nn.Module):
    """A wrapper around a network, because torch replaces the `forward` of the module that it captures."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Any:
        """The network's output."""
        return self.network(image)
