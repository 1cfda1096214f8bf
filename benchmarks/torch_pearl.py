"""PEARL in torch, weights and noise given: written for the comparison, from its equations.

Encoder and critics take their step together, from one pass backwards through the critics' loss and
the beliefs' divergence.

Imported only where torch is installed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from behavior_priors.objectives.context import SMALLEST_VARIANCE
from benchmarks import torch_parts
from benchmarks.pearl_configs import Configs

LOG_ROOT = 0.5 * math.log(2.0 * math.pi)


class PearlTrainer:
    """PEARL with twin critics and a tuned temperature, its batches and its optimisers.

    Batches are those of `benchmarks.pearl.make_data`, one for each update, used in turn.
    """

    def __init__(
        self, configs: Configs, data: torch_parts.Arrays, weights: torch_parts.Arrays
    ) -> None:
        self._configs, sac = configs, configs.sac
        self._data = {name: torch.tensor(x, dtype=torch.float32) for name, x in data.items()}
        self._number = 0
        sizes = data["observation"].shape[-1], data["action"].shape[-1]
        # with the task's own measure of entropy, minus one nat a dimension
        self._target_penalty = float(sizes[1])
        nets = self._nets = PearlNets(configs, *sizes)
        torch_parts.load(nets, weights)
        self._critics, self._targets = (
            list(each.parameters()) for each in (nets.critics, nets.targets)
        )
        self._critic_adam = torch_parts.adam(
            [
                (sac.critic_learning_rate, self._critics),
                (configs.pearl.encoder_learning_rate, list(nets.encoder.parameters())),
            ]
        )
        policy = list(nets.policy.parameters())
        self._policy_adam = torch_parts.adam([(sac.policy_learning_rate, policy)])
        self._temperature_adam = torch_parts.adam(
            [(sac.temperature_learning_rate, [nets.log_temperature])]
        )

    def step(self) -> Any:
        """One update on the next batch, with noise drawn here; returns the losses."""
        tasks, batch, size = self._data["action"].shape[1:]
        latent = self._configs.context.latent_size
        noise = torch.randn(tasks, latent), *torch.randn(2, tasks * batch, size)
        losses = self._update(self._number, *noise)
        self._number = (self._number + 1) % len(self._data["reward"])
        return losses

    def update(self, number: int, *noise: np.ndarray) -> list[float]:
        """One update on a batch and noise given.

        Args:
          number: of the batch.
          noise: of descriptions `[tasks, latent_size]`, of the next actions and of the actions
            `[tasks * batch, action_size]`.

        Returns:
          The losses of the critics and the policy, the divergence, the temperature's loss.
        """
        return [x.item() for x in self._update(number, *map(torch.tensor, noise))]

    def gradient(self) -> dict[str, np.ndarray]:
        """The last update's."""
        return torch_parts.gradients(self._nets)

    def weights(self) -> dict[str, np.ndarray]:
        """The present ones, target critics included."""
        return torch_parts.weights(self._nets)

    def _update(
        self,
        number: int,
        description_noise: torch.Tensor,
        next_noise: torch.Tensor,
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        (pearl, sac, _), nets = self._configs, self._nets
        batch = {name: x[number] for name, x in self._data.items()}
        temperature = nets.log_temperature.detach().exp()
        seen = [batch[f"context_{name}"] for name in ("observation", "action", "reward")]
        mean, variance = nets.believe(*seen)
        description = mean + variance.sqrt() * description_noise
        held = description.detach()

        with torch.no_grad():
            following = describe(batch["next_observation"], held)
            next_action, paid = nets.draw(following, next_noise)
            next_q = torch_parts.values(nets.targets, following, next_action).amin(0)
            discount = sac.discount * (1.0 - batch["terminated"].flatten())
            reward = sac.reward_scale * batch["reward"].flatten()
            target = reward + discount * (next_q - temperature * paid)
        taken = batch["action"].flatten(0, 1)
        q = torch_parts.values(nets.critics, describe(batch["observation"], description), taken)
        critic_loss = 0.5 * (q - target).square().sum(0).mean()
        divergence = 0.5 * (variance + mean.square() - 1.0 - variance.log()).sum(-1).mean()
        loss = critic_loss + pearl.divergence_weight * divergence
        torch_parts.descend(self._critic_adam, loss)

        observation = describe(batch["observation"], held)
        action, paid = nets.draw(observation, noise)
        value = torch_parts.values(nets.critics, observation, action).amin(0)
        policy_loss = (temperature * paid - value).mean()
        torch_parts.descend(self._policy_adam, policy_loss)

        excess = self._target_penalty - paid.detach().mean()
        temperature_loss = nets.log_temperature * excess
        torch_parts.descend(self._temperature_adam, temperature_loss)

        with torch.no_grad():
            torch_parts.follow(self._targets, self._critics, sac.target_rate)
        losses = critic_loss, policy_loss, divergence, temperature_loss
        return tuple(x.detach() for x in losses)


class PearlNets(torch.nn.Module):
    """Context encoder, policy, critics, target critics and the temperature."""

    def __init__(self, configs: Configs, observation_size: int, action_size: int) -> None:
        super().__init__()
        _, sac, context = configs
        self.limits = (sac.min_log_std, sac.max_log_std)
        size = observation_size + action_size + 1
        self.encoder = torch_parts.mlp(size, *context.widths, 2 * context.latent_size)
        size = observation_size + context.latent_size
        self.policy = torch_parts.mlp(size, *(sac.policy_widths or ()), 2 * action_size)
        sizes = (size + action_size, *sac.critic_widths, 1)
        self.critics, self.targets = (
            torch.nn.ModuleList([torch_parts.mlp(*sizes) for _ in range(sac.num_critics)])
            for _ in "ct"
        )
        self.targets.requires_grad_(False)
        start = torch.tensor(math.log(sac.initial_temperature))
        self.log_temperature = torch.nn.Parameter(start)

    def believe(
        self, observation: torch.Tensor, action: torch.Tensor, reward: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance `[..., latent_size]` of transitions `[..., transitions, ...]`."""
        said = self.encoder(torch.cat([observation, action, reward[..., None]], dim=-1))
        mean, raw = said.chunk(2, dim=-1)
        precision = functional.softplus(raw).clamp(min=SMALLEST_VARIANCE).reciprocal()
        variance = precision.sum(-2).reciprocal()
        return variance * (precision * mean).sum(-2), variance

    def gaussian(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy's mean and log standard deviation `[..., size]`, before they are squashed."""
        return torch_parts.gaussian(self.policy(observation), *self.limits)

    def draw(
        self, observation: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy's actions `[..., size]`, squashed, and their log-density `[...]`."""
        mean, log_std = self.gaussian(observation)
        x = mean + log_std.exp() * noise
        log_slope = 2.0 * (math.log(2.0) - x - functional.softplus(-2.0 * x))
        log_prob = -0.5 * noise.square() - log_std - LOG_ROOT - log_slope
        return x.tanh(), log_prob.sum(-1)


def describe(observation: torch.Tensor, description: torch.Tensor) -> torch.Tensor:
    """Observations `[tasks, batch, size]`, flat, each with its task's description beside it."""
    beside = description[:, None].expand(-1, observation.shape[1], -1)
    return torch.cat([observation, beside], dim=-1).flatten(0, 1)
