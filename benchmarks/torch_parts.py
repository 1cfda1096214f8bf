"""What trainers in torch are made of: networks, one step of an optimiser, weights in and out.

In the fastest form of plain eager torch that was found: Adam in one fused kernel, gradients only of
what learns. Nothing is compiled.

Imported only where torch is installed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

Arrays = Mapping[str, np.ndarray]
"""By the name that `state_dict` has for it."""


def mlp(*sizes: int) -> torch.nn.Sequential:
    """Linear layers with rectifiers between them."""
    modules: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def values(critics: Iterable[Any], observation: torch.Tensor, action: torch.Tensor) -> Any:
    """Values `[critics, batch]`: one critic after the other, as most code in PyTorch has it."""
    x = torch.cat([observation, action], dim=-1)
    return torch.stack([critic(x).squeeze(-1) for critic in critics])


def gaussian(outputs: torch.Tensor, low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log standard deviation."""
    mean, log_std = outputs.chunk(2, dim=-1)
    return mean, log_std.clamp(low, high)


def adam(groups: Sequence[tuple[float, Sequence[torch.Tensor]]]) -> torch.optim.Optimizer:
    """One optimiser of parameters, each group with its learning rate."""
    named = [{"params": list(learned), "lr": rate} for rate, learned in groups]
    return torch.optim.Adam(named, fused=True)


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """A step along the gradient with respect to what the optimiser has, and to nothing else."""
    learned = [x for group in optimizer.param_groups for x in group["params"]]
    optimizer.zero_grad()
    loss.backward(inputs=learned)
    optimizer.step()


def follow(targets: Iterable[torch.Tensor], critics: Iterable[torch.Tensor], rate: float) -> None:
    """Target critics come that share nearer to the critics."""
    torch._foreach_lerp_([*targets], [*critics], rate)


def load(nets: torch.nn.Module, weights: Arrays) -> None:
    """Copies weights; all of what learns has to be among them."""
    state = {name: torch.tensor(x) for name, x in weights.items()}
    missing, unexpected = nets.load_state_dict(state, strict=False)
    learned = {name for name, x in nets.named_parameters() if x.requires_grad}
    assert not unexpected
    assert not learned & set(missing)


def gradients(nets: torch.nn.Module) -> dict[str, np.ndarray]:
    """Of whatever has one."""
    named = nets.named_parameters()
    return {name: x.grad.numpy().copy() for name, x in named if x.grad is not None}


def weights(nets: torch.nn.Module) -> dict[str, np.ndarray]:
    """All of them."""
    return {name: x.detach().numpy().copy() for name, x in nets.named_parameters()}
