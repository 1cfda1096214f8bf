"""The real-NVPs of nflows and zuko, with nets, weights and the bound on log-scales given.

Imported only where they are installed. Both libraries build a flow from data to noise, so that
their couplings are the inverses of ours.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import zuko
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import AffineCouplingTransform, CompositeTransform, InverseTransform

from behavior_priors.priors.real_nvp import RealNVPConfig
from benchmarks.flow_entrants import REDUCTIONS, Entrant, Layers

Tensors = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`(observation [B, ...], event [B, size])` to log-likelihoods `[B]` or actions `[B, size]`."""


class Placed(NamedTuple):
    """A linear layer, and where its inputs and outputs are in the layer that it copies.

    Attributes:
      linear: torch's layer.
      rows: by input of `linear`, the row of the kernel.
      columns: by output of `linear`, the column of the kernel.
    """

    linear: torch.nn.Linear
    rows: np.ndarray
    columns: np.ndarray


class TorchFlow(NamedTuple):
    """A flow in torch: the programs by operation, and all layers in the order of `Layers`."""

    programs: dict[str, Tensors]
    layers: list[Placed]


def entrant(
    model: TorchFlow, batch: Sequence[np.ndarray], operation: str, gradient: bool
) -> Entrant:
    """An operation of a flow on a batch."""
    torch.set_num_threads(os.cpu_count() or 1)
    reduce, program = REDUCTIONS[operation], model.programs[operation]
    observation, event = (torch.tensor(x) for x in batch)
    parameters = [x for layer in model.layers for x in (layer.linear.weight, layer.linear.bias)]

    def forward() -> Any:
        with torch.inference_mode():
            return program(observation, event)

    def backward() -> Any:
        value = reduce(program(observation, event))
        return value, torch.autograd.grad(value, parameters)

    def arrays(result: Any) -> list[np.ndarray]:
        if not gradient:
            return [result.numpy()]
        value, gradients = result
        found = [value.detach().numpy()]
        for i, (_, rows, columns) in enumerate(model.layers):
            weight, bias = (x.numpy() for x in gradients[2 * i : 2 * i + 2])
            kernel_gradient, bias_gradient = np.empty_like(weight.T), np.empty_like(bias)
            kernel_gradient[np.ix_(rows, columns)] = weight.T
            bias_gradient[columns] = bias
            found += [kernel_gradient, bias_gradient]
        return found

    return Entrant(backward if gradient else forward, arrays)


class BoundedAffineCoupling(AffineCouplingTransform):
    """nflows's affine coupling with our bound on log-scales instead of its own."""

    def __init__(self, mask: Sequence[int], net: Callable[..., Any], bound: float) -> None:
        super().__init__(mask, net)
        self._bound = bound

    def _scale_and_shift(self, transform_params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shift, raw = transform_params.chunk(2, dim=-1)
        return torch.exp(self._bound * torch.tanh(raw / self._bound)), shift


class Conditioner(torch.nn.Module):
    """nflows's own nets that see a context are residual; this one is ours."""

    def __init__(self, context: int, widths: Sequence[int], inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = _mlp(context + inputs, *widths, outputs)

    def forward(self, inputs: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Outputs `[B, outputs]` from a half `[B, inputs]` and features `[B, context]`."""
        return self.net(torch.cat([context, inputs], dim=-1))


def make_nflows(config: RealNVPConfig, given: Layers, action_size: int) -> TorchFlow:
    """The flow of nflows with the given weights."""
    encoder, width = _make_encoder(config, given)
    net = functools.partial(Conditioner, width, config.conditioner_widths)
    couplings = [
        BoundedAffineCoupling((~kept).astype(int).tolist(), net, _bound(config))
        for kept in _kept_halves(config, action_size)
    ]
    to_action = CompositeTransform(couplings)
    flow = Flow(InverseTransform(to_action), StandardNormal([action_size]), encoder)
    placed = [_in_place(linear) for linear in _linears(encoder)]
    for coupling in couplings:
        placed += [_in_place(linear) for linear in _linears(coupling.transform_net)]
    _copy(given, placed)
    return TorchFlow(
        {
            "log_prob": lambda observation, action: flow.log_prob(action, context=observation),
            "sample": lambda observation, noise: to_action(noise, encoder(observation))[0],
        },
        placed,
    )


class BoundedAffine(torch.distributions.Transform):
    """From actions to noise, given what our coupling shifts and scales noise by."""

    domain = torch.distributions.constraints.real
    codomain = torch.distributions.constraints.real
    bijective = True
    sign = +1

    def __init__(self, shift: torch.Tensor, raw: torch.Tensor, *, bound: float) -> None:
        super().__init__()
        self.shift = shift
        self.log_scale = bound * torch.tanh(raw / bound)

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.shift) * torch.exp(-self.log_scale)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return y * torch.exp(self.log_scale) + self.shift

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return -self.log_scale


def make_zuko(config: RealNVPConfig, given: Layers, action_size: int) -> TorchFlow:
    """The flow of zuko with the given weights."""
    encoder, width = _make_encoder(config, given)
    couplings = [
        zuko.flows.GeneralCouplingTransform(
            action_size,
            width,
            torch.tensor(kept),
            univariate=functools.partial(BoundedAffine, bound=_bound(config)),
            hidden_features=config.conditioner_widths,
        )
        for kept in _kept_halves(config, action_size)
    ]
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal,
        torch.zeros(action_size),
        torch.ones(action_size),
        buffer=True,
    )
    flow = zuko.lazy.Flow(couplings[::-1], base)
    placed = [_in_place(linear) for linear in _linears(encoder)]
    for coupling in couplings:
        first, *others, last = _linears(coupling.hyper)
        # zuko's nets see the half before the features, and give shift and scale in turns
        half = first.in_features - width
        rows = np.r_[width : width + half, :width]
        columns = np.arange(last.out_features).reshape(2, -1).T.ravel()
        placed += [_in_place(first)._replace(rows=rows)]
        placed += [_in_place(linear) for linear in others]
        placed += [_in_place(last)._replace(columns=columns)]
    _copy(given, placed)
    return TorchFlow(
        {
            "log_prob": lambda observation, action: flow(encoder(observation)).log_prob(action),
            "sample": lambda observation, noise: flow(encoder(observation)).transform.inv(noise),
        },
        placed,
    )


LIBRARIES = {"nflows": make_nflows, "zuko": make_zuko}


def _make_encoder(config: RealNVPConfig, given: Layers) -> tuple[torch.nn.Module, int]:
    """The net in front of the couplings, and the number of its features."""
    widths = config.encoder_widths
    observation_size = len(given[0][0])
    return torch.nn.Sequential(_mlp(observation_size, *widths), torch.nn.ReLU()), widths[-1]


def _mlp(*sizes: int) -> torch.nn.Sequential:
    """Linear layers with rectifiers between them."""
    modules: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def _kept_halves(config: RealNVPConfig, action_size: int) -> list[np.ndarray]:
    """By coupling, from noise to actions: which dimensions stay."""
    first_half = np.arange(action_size) < action_size // 2
    return [first_half ^ (layer % 2 == 1) for layer in range(config.couplings)]


def _bound(config: RealNVPConfig) -> float:
    assert config.log_scale_bound is not None
    return config.log_scale_bound


def _linears(net: torch.nn.Module) -> list[Any]:
    classes = (torch.nn.Linear, zuko.nn.Linear)
    return [module for module in net.modules() if isinstance(module, classes)]


def _in_place(linear: torch.nn.Linear) -> Placed:
    return Placed(linear, np.arange(linear.in_features), np.arange(linear.out_features))


def _copy(given: Layers, placed: Sequence[Placed]) -> None:
    for (kernel, bias), (linear, rows, columns) in zip(given, placed, strict=True):
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(kernel[np.ix_(rows, columns)].T))
            linear.bias.copy_(torch.tensor(bias[columns]))
