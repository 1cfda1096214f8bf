"""SPiRL's skill model and KL-regularised soft actor-critic in torch, weights and noise given.

Written for the comparison, in the fastest form of plain eager torch that was found: `nn.LSTM` over
whole sequences, which is oneDNN's; linear layers over all steps at once; Adam in one fused kernel;
gradients only of what learns; target critics moved by one call. Nothing is compiled.

Imported only where torch is installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from behavior_priors.learners.sac import SACConfig
from behavior_priors.priors.skill_networks import LIMITS
from behavior_priors.priors.skill_vae import SkillVAEConfig
from behavior_priors.training.fit import FitConfig
from benchmarks import torch_parts

Arrays = Mapping[str, np.ndarray]


class Trainer(Protocol):
    """What `train` trains."""

    def step(self) -> Any: ...


def train(trainer: Trainer, updates: int, threads: int) -> None:
    """Updates so many times, on so many threads."""
    torch.set_num_threads(threads)
    for _ in range(updates):
        trainer.step()


class SkillTrainer:
    """The closed-loop skill model with a Gaussian prior, its data and its optimiser."""

    def __init__(
        self, config: SkillVAEConfig, fit: FitConfig, data: Arrays, weights: Arrays
    ) -> None:
        self._config, self._fit = config, fit
        self._data = {name: torch.tensor(x) for name, x in data.items()}
        self._steps = torch.arange(config.horizon)
        sizes = (data["observation"].shape[1], data["action"].shape[1])
        self._nets = SkillNets(config, *sizes)
        torch_parts.load(self._nets, weights)
        self._learned = [x for x in self._nets.parameters() if x.requires_grad]
        self._optimizer = torch_parts.adam([(fit.learning_rate, self._learned)])

    def step(self) -> torch.Tensor:
        """One gradient step on pieces and noise drawn here; returns the loss."""
        size = self._fit.batch_size
        rows = torch.randint(len(self._data["start"]), (size,))
        return self._descend(rows, torch.randn(size, self._config.latent_size))

    def update(self, rows: np.ndarray, noise: np.ndarray) -> torch.Tensor:
        """One gradient step on pieces `[batch]` and noise `[batch, latent_size]` given."""
        return self._descend(torch.tensor(rows), torch.tensor(noise))

    def gradient(self) -> dict[str, np.ndarray]:
        """The last step's, clipped."""
        return torch_parts.gradients(self._nets)

    def weights(self) -> dict[str, np.ndarray]:
        """The present ones."""
        return _changing(self._nets)

    def _descend(self, rows: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        at = self._data["start"][rows][:, None] + self._steps
        observation, action = self._data["observation"][at], self._data["action"][at]
        loss = self._nets.loss(observation, action, noise)
        self._optimizer.zero_grad()
        loss.backward()
        if self._fit.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self._learned, self._fit.gradient_clip)
        self._optimizer.step()
        return loss.detach()


class SkillNets(torch.nn.Module):
    """Encoder, decoder and prior."""

    def __init__(self, config: SkillVAEConfig, observation_size: int, action_size: int) -> None:
        super().__init__()
        latent = config.latent_size
        self.beta = config.beta
        self.embedding = torch.nn.Linear(observation_size + action_size, config.embedding_width)
        self.lstm = torch.nn.LSTM(config.embedding_width, config.lstm_width, batch_first=True)
        self.lstm.get_parameter("bias_ih_l0").requires_grad_(False).zero_()
        self.head = torch.nn.Linear(config.lstm_width, 2 * latent)
        self.decoder = torch_parts.mlp(
            observation_size + latent, *config.decoder_widths, action_size
        )
        self.prior = torch_parts.mlp(observation_size, *config.prior_widths, 2 * latent)

    def loss(
        self, observation: torch.Tensor, action: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Of pieces `[batch, horizon, ...]`, with noise `[batch, latent_size]`."""
        steps = self.embedding(torch.cat([action, observation], dim=-1))
        _, (last, _) = self.lstm(steps)
        mean, log_std = torch_parts.gaussian(self.head(last[0]), *LIMITS)
        skill = mean + log_std.exp() * noise
        skills = skill[:, None].expand(-1, action.shape[1], -1)
        error = self.decoder(torch.cat([observation, skills], dim=-1)) - action
        reconstruction = 0.5 * error.square().sum((1, 2)).mean()
        divergence = (0.5 * ((2.0 * log_std).exp() + mean.square() - 1.0) - log_std).sum(-1).mean()
        prior_mean, prior_log_std = torch_parts.gaussian(self.prior(observation[:, 0]), *LIMITS)
        distance = (skill.detach() - prior_mean) * (-prior_log_std).exp()
        constant = 0.5 * math.log(2.0 * math.pi)
        nll = (0.5 * distance.square() + prior_log_std + constant).sum(-1).mean()
        entropy = (0.5 + constant + log_std.detach()).sum(-1).mean()
        return reconstruction + self.beta * divergence + nll - entropy


class KLSACTrainer:
    """KL-regularised soft actor-critic with a Gaussian prior, its transitions and its optimisers.

    The divergence is the closed form, the temperature is tuned, actions have no bound.
    """

    def __init__(
        self,
        config: SACConfig,
        target_divergence: float,
        batch_size: int,
        data: Arrays,
        weights: Arrays,
    ) -> None:
        self._config, self._target_divergence = config, target_divergence
        self._batch_size = batch_size
        self._data = {name: torch.tensor(x, dtype=torch.float32) for name, x in data.items()}
        observation_size, action_size = data["observation"].shape[1], data["action"].shape[1]
        self._nets = KLSACNets(config, observation_size, action_size)
        torch_parts.load(self._nets, weights)
        self._targets = list(self._nets.targets.parameters())
        self._critics = list(self._nets.critics.parameters())
        self._critic_adam, self._policy_adam, self._temperature_adam = (
            torch_parts.adam([(rate, learned)])
            for rate, learned in (
                (config.critic_learning_rate, self._critics),
                (config.policy_learning_rate, list(self._nets.policy.parameters())),
                (config.temperature_learning_rate, [self._nets.log_temperature]),
            )
        )

    def step(self) -> Any:
        """One update on transitions and noise drawn here; returns the losses."""
        rows = torch.randint(len(self._data["reward"]), (self._batch_size,))
        noise = torch.randn(2, self._batch_size, self._data["action"].shape[1])
        return self._update(rows, noise)

    def update(self, rows: np.ndarray, noise: np.ndarray) -> list[float]:
        """One update on transitions `[batch]` and noise `[2, batch, action_size]` given.

        Args:
          rows: which transitions.
          noise: of the next actions, then of the actions.

        Returns:
          The losses of the critics, the policy and the temperature.
        """
        return [x.item() for x in self._update(torch.tensor(rows), torch.tensor(noise))]

    def gradient(self) -> dict[str, np.ndarray]:
        """The last update's."""
        return torch_parts.gradients(self._nets)

    def weights(self) -> dict[str, np.ndarray]:
        """The present ones, target critics included."""
        return _changing(self._nets)

    def _update(self, rows: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        config, nets = self._config, self._nets
        batch = {name: x[rows] for name, x in self._data.items()}
        temperature = nets.log_temperature.detach().exp()

        with torch.no_grad():
            next_action, paid = nets.draw(batch["next_observation"], noise[0])
            next_q = torch_parts.values(nets.targets, batch["next_observation"], next_action).amin(
                0
            )
            discount = config.discount * (1.0 - batch["terminated"])
            reward = config.reward_scale * batch["reward"]
            target = reward + discount * (next_q - temperature * paid)
        q = torch_parts.values(nets.critics, batch["observation"], batch["action"])
        critic_loss = 0.5 * (q - target).square().sum(0).mean()
        torch_parts.descend(self._critic_adam, critic_loss)

        action, paid = nets.draw(batch["observation"], noise[1])
        value = torch_parts.values(nets.critics, batch["observation"], action).amin(0)
        policy_loss = (temperature * paid - value).mean()
        torch_parts.descend(self._policy_adam, policy_loss)

        excess = self._target_divergence - paid.detach().mean()
        temperature_loss = nets.log_temperature * excess
        torch_parts.descend(self._temperature_adam, temperature_loss)

        with torch.no_grad():
            torch_parts.follow(self._targets, self._critics, config.target_rate)
        return critic_loss.detach(), policy_loss.detach(), temperature_loss.detach()


class KLSACNets(torch.nn.Module):
    """Policy, prior, critics, target critics and the temperature."""

    def __init__(self, config: SACConfig, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.limits = (config.min_log_std, config.max_log_std)
        sizes = (observation_size, *(config.policy_widths or ()), 2 * action_size)
        self.policy, self.prior = torch_parts.mlp(*sizes), torch_parts.mlp(*sizes)
        sizes = (observation_size + action_size, *config.critic_widths, 1)
        self.critics, self.targets = (
            torch.nn.ModuleList([torch_parts.mlp(*sizes) for _ in range(config.num_critics)])
            for _ in "ct"
        )
        self.prior.requires_grad_(False)
        self.targets.requires_grad_(False)
        start = torch.tensor(math.log(config.initial_temperature))
        self.log_temperature = torch.nn.Parameter(start)

    def draw(
        self, observation: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy's actions `[batch, size]`, and its divergence `[batch]` from the prior."""
        mean, log_std = torch_parts.gaussian(self.policy(observation), *self.limits)
        prior_mean, prior_log_std = torch_parts.gaussian(self.prior(observation), *LIMITS)
        difference = log_std - prior_log_std
        distance = (mean - prior_mean) * (-prior_log_std).exp()
        each = 0.5 * ((2.0 * difference).exp() + distance.square() - 1.0) - difference
        return mean + log_std.exp() * noise, each.sum(-1)


def _changing(nets: torch.nn.Module) -> dict[str, np.ndarray]:
    """All weights that may change."""
    frozen = ("prior.",) if isinstance(nets, KLSACNets) else ("lstm.bias_ih",)
    found = torch_parts.weights(nets)
    return {name: x for name, x in found.items() if not name.startswith(frozen)}
