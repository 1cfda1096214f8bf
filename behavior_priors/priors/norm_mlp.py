"""Dense layers with batch normalisation, as the variational autoencoders of PARROT's rivals have.

Ghadirzadeh et al. 2020 (arXiv:2007.13134), as in Singh, Liu et al. 2021, appendix D.
"""

from __future__ import annotations

from collections.abc import Sequence

from flax import linen as nn

from behavior_priors.types import Array

MOMENTUM = 0.9
"""Share of running statistics that a batch leaves as it is; PyTorch's 0.1 is the rest."""


class NormMLP(nn.Module):
    """Hidden layers, each normalised over the batch and rectified, then a linear one."""

    widths: Sequence[int]
    size: int
    batch_norm: bool = True

    @nn.compact
    def __call__(self, x: Array, *, learning: bool) -> Array:
        """Maps `[..., features]` to `[..., size]`.

        Where it is `learning`, layers are normalised by the batch's own statistics, and running
        ones are moved; elsewhere by the running ones, so that one state's output is its own.
        """
        for width in self.widths:
            x = nn.Dense(width)(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not learning, momentum=MOMENTUM)(x)
            x = nn.relu(x)
        return nn.Dense(self.size)(x)
