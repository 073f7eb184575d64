"""The MS-DCNN of L. Liu, Yang, Meng, Li, Wang (ISLES 2018).

"DenseNet-121 extended to 123 layers", twice, with different first kernels: each path has "3 separate convolution
layers, 1 pooling, 4 dense blocks, 3 transitions, 4 up-sampling blocks". DenseNet-121's dense units give 2 x 58
convolutions; its transitions have none here, as the paper describes them; with the stem, the two of the fusion and one
an up-sampling block that makes 2 x 58 + 3 + 4 = 123.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmark.machine.graphs import SideStream
from benchmark.methods.layers import check_multiples, upsample_twice

#: DenseNet-121 (Huang et al. 2017): units a block, growth rate, width of the bottlenecks, channels of the stem.
UNITS, GROWTH, BOTTLENECK, STEM = (6, 12, 24, 16), 32, 128, 64
#: Channels of the up-sampling blocks, deepest first. Our choice: the paper gives none.
UP = (512, 256, 128, 64)


class DenseUnit(nn.Module):
    """BN-ReLU-conv1-BN-ReLU-conv3-dropout; returns only its new channels."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, BOTTLENECK, 1, bias=False),
            nn.BatchNorm2d(BOTTLENECK),
            nn.ReLU(inplace=True),
            nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False),
            nn.Dropout(dropout),
        )

    def forward(self, *features: Tensor) -> Tensor:
        """Features (N, ., H, W) with `channels` channels in all -> (N, 32, H, W)."""
        return self.body(torch.cat(features, dim=1))


class DenseBlock(nn.Module):
    """Dense units, each on the concatenation of the block's input and all units before it.

    Args:
        channels: of the input.
        units: how many.
        dropout: after each unit.
        checkpointed: do not keep the activations for the backward pass but compute them again (less memory, slower).
    """

    def __init__(self, channels: int, units: int, dropout: float, checkpointed: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(DenseUnit(channels + GROWTH * unit, dropout) for unit in range(units))
        self.checkpointed = checkpointed

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels + 32 units, H, W)."""
        features = [x]
        for unit in self.units:
            features.append(recomputed(unit, features) if self.checkpointed and self.training else unit(*features))
        return torch.cat(features, dim=1)


def recomputed(unit: nn.Module, features: Sequence[Tensor]) -> Tensor:
    """The unit's output, with its activations computed again in the backward pass (under the same dropout).

    The concatenation is the unit's own, so it is not kept either: a block keeps memory in proportion to its units, not
    to their square.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), statistics_frozen(unit)

    return checkpoint(unit, *features, use_reentrant=False, context_fn=contexts)


@contextmanager
def statistics_frozen(module: nn.Module) -> Iterator[None]:
    """Batch normalisation as in training, but a pass does not count for the running statistics.

    Otherwise the second pass over the same batch would count too: the statistics would follow the last batches (0.81 of
    the old in place of 0.9), and the evaluated network would depend on whether memory was short. They stay in use, with
    a momentum of 0 and a counter to throw away, since both passes must keep the same tensors for the backward pass.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, (_, batches) in zip(norms, kept, strict=True):
        norm.momentum, norm.num_batches_tracked = 0.0, None if batches is None else batches.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


class Transition(nn.Module):
    """BN-ReLU-dropout-average pooling; no convolution, as the paper describes it.

    Args:
        channels: of the input.
        dropout: likewise.
        light: compress to half the channels by a 1x1 convolution, as DenseNet does.
    """

    def __init__(self, channels: int, dropout: float, light: bool) -> None:
        super().__init__()
        self.channels_out = channels // 2 if light else channels
        layers: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        if light:
            layers.append(nn.Conv2d(channels, self.channels_out, 1, bias=False))
        self.body = nn.Sequential(*layers, nn.Dropout(dropout), nn.AvgPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels_out, H / 2, W / 2)."""
        return self.body(x)


class UpBlock(nn.Module):
    """Bilinear zoom, concatenation with the contracting path's activation, BN-ReLU-conv3."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, H, W) and (N, C', 2 H, 2 W) -> (N, channels_out, 2 H, 2 W)."""
        return self.body(torch.cat([upsample_twice(x), skip], dim=1))


class DensePath(nn.Module):
    """One of the two U-shapes.

    Args:
        channels: input maps.
        kernel: of the first convolution.
        dropout: in dense units and transitions.
        light: see `Transition`.
        checkpointed: see `DenseBlock`.
    """

    def __init__(self, channels: int, kernel: int, dropout: float, light: bool, checkpointed: bool) -> None:
        super().__init__()
        # Stride 1: three transitions and one pooling take 160 to 10, and four zooms lead back.
        self.stem = nn.Sequential(
            nn.Conv2d(channels, STEM, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        width, skips = STEM, [STEM]
        for place, units in enumerate(UNITS):
            self.blocks.append(DenseBlock(width, units, dropout, checkpointed))
            width += GROWTH * units
            if place < len(UNITS) - 1:
                skips.append(width)
                transition = Transition(width, dropout, light)
                self.transitions.append(transition)
                width = transition.channels_out
        self.ups = nn.ModuleList()
        for skip, channels_out in zip(reversed(skips), UP, strict=True):
            self.ups.append(UpBlock(width + skip, channels_out))
            width = channels_out

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, 64, H, W)."""
        x = self.stem(x)
        skips = [x]
        x = self.pool(x)
        for block, transition in zip(self.blocks[:-1], self.transitions, strict=True):
            x = block(x)
            skips.append(x)
            x = transition(x)
        x = self.blocks[-1](x)
        for up in self.ups:
            x = up(x, skips.pop())
        return x


class MSDCNN(nn.Module):
    """Two paths over different maps, fused by two convolutions.

    Args:
        maps_a: places of the input maps of path A (Tmax, CBF, CBV).
        maps_b: those of path B (MTT).
        kernel_a: first kernel of path A. Our choice of sizes: DenseNet's 7 and a small one; the paper gives none.
        kernel_b: of path B.
        dropout_a: of path A (paper: 0.01).
        dropout_b: of path B (paper: 0.5).
        light: transitions compress, see `Transition`.
        checkpointed: see `DenseBlock`.
    """

    index_a: Tensor
    index_b: Tensor

    #: Height and width must be multiples of this: one pooling and three transitions.
    multiple = 16

    def __init__(
        self,
        maps_a: Sequence[int],
        maps_b: Sequence[int],
        kernel_a: int = 7,
        kernel_b: int = 3,
        dropout_a: float = 0.01,
        dropout_b: float = 0.5,
        light: bool = False,
        checkpointed: bool = False,
    ) -> None:
        super().__init__()
        # Lists as indices would be sent to the device at every step, which waits for it.
        self.register_buffer("index_a", torch.tensor(list(maps_a)), persistent=False)
        self.register_buffer("index_b", torch.tensor(list(maps_b)), persistent=False)
        self.path_a = DensePath(len(maps_a), kernel_a, dropout_a, light, checkpointed)
        self.path_b = DensePath(len(maps_b), kernel_b, dropout_b, light, checkpointed)
        self._beside: SideStream | None = None
        self.fusion = nn.Sequential(
            nn.Conv2d(2 * UP[-1], UP[-1], 3, padding=1, bias=False),
            nn.BatchNorm2d(UP[-1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(UP[-1], 1, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """All maps of the cohort (N, C, H, W) -> logits (N, 1, H, W).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        check_multiples("ms_dcnn", x, self.multiple)
        # The paths are independent, and neither keeps a GPU busy.
        beside = self._beside if self._beside and self._beside.device == x.device else SideStream(x.device)
        self._beside = beside
        beside.follow()
        with beside.current():
            a = self.path_a(x[:, self.index_a])
        b = self.path_b(x[:, self.index_b])
        beside.join(a)
        return self.fusion(torch.cat([a, b], dim=1))
