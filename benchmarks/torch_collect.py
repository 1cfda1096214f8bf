"""PEARL as its public code acts: one process, one environment, a call a step, task by task.

With gymnasium's half-cheetah and a policy in torch. Written for the comparison and leaner than that
code: what has been seen is kept in arrays of full size, where that joins lists at each step.

Imported only where torch and gymnasium are installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from benchmarks import torch_parts
from benchmarks.pearl_configs import Configs
from benchmarks.torch_pearl import PearlNets

ID = "HalfCheetah-v5"
HEIGHT = 0.7  # metres, of the torso where the vertical position is 0

Belief = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance `[latent_size]`."""


class Memory(NamedTuple):
    """Of one task, in order `[steps, ...]`."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray


class Collector:
    """A policy and the one environment that it acts in, whose task is a speed."""

    def __init__(
        self,
        configs: Configs,
        weights: torch_parts.Arrays,
        scale: np.ndarray,
        episode_length: int,
    ) -> None:
        """Initialises the collector.

        Args:
          configs: of the networks.
          weights: of all of them.
          scale: `[observation_size]`, what observations are divided by.
          episode_length: in steps.
        """
        self._scale, self.latent_size = scale.astype(np.float32), configs.context.latent_size
        self.length = episode_length
        self.env = _make_env(episode_length)
        self._size = self.env.action_space.shape[0]
        self._nets = PearlNets(configs, len(scale), self._size)
        torch_parts.load(self._nets, weights)
        self.prior = torch.zeros(self.latent_size), torch.ones(self.latent_size)
        self.env.reset(seed=0)
        self._rng = np.random.default_rng(0)

    def observe(self, seen: np.ndarray) -> np.ndarray:
        """What PEARL's environment shows `[20]`, standardised, of gymnasium's `[18]`."""
        torso = (seen[0], 0.0, seen[1] + HEIGHT)
        return np.concatenate([seen[1:], torso], dtype=np.float32) / self._scale

    def restart(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """Goes to that state and observes it."""
        self.env.reset()
        body = self.env.unwrapped
        body.set_state(qpos, qvel)
        return self.observe(np.concatenate([qpos, qvel]))

    @torch.inference_mode()
    def act(
        self, observation: np.ndarray, description: torch.Tensor, noise: torch.Tensor | None
    ) -> Any:
        """An action `[size]` for standard normal noise `[size]`; the policy's mode without it."""
        x = torch.cat([torch.from_numpy(observation), description])
        action, log_std = self._nets.gaussian(x)
        if noise is not None:
            action = action + log_std.exp() * noise
        return action.tanh().numpy()

    def step(self, action: np.ndarray, speed: float) -> tuple[np.ndarray, float]:
        """What is observed after a step, and the reward of whoever should have that speed."""
        seen, _, _, _, info = self.env.step(action)
        effort = 0.05 * float(np.square(action).sum())
        return self.observe(seen), -abs(info["x_velocity"] - speed) - effort

    @torch.inference_mode()
    def infer(self, memory: Sequence[np.ndarray], rows: np.ndarray | slice) -> Belief:
        """What these of the transitions say about their task; where they led is not looked at."""
        return self._nets.believe(*(torch.from_numpy(x[rows]) for x in memory[:3]))

    def episode(
        self, speed: float, belief: Belief, memory: Memory, start: int, *, explore: bool
    ) -> None:
        """Writes an episode into the memory from that row on; one description is for all of it."""
        mean, variance = belief
        description = mean + variance.sqrt() * torch.randn(self.latent_size)
        observation = self.observe(self.env.reset()[0])
        for row in range(start, start + self.length):
            noise = torch.randn(self._size) if explore else None
            action = self.act(observation, description, noise)
            following, reward = self.step(action, speed)
            memory.observation[row], memory.action[row] = observation, action
            memory.reward[row], memory.next_observation[row] = reward, following
            observation = following

    def collect(
        self,
        speeds: Sequence[float],
        from_prior: Sequence[bool],
        as_context: Sequence[bool],
        context_size: int,
    ) -> list[Memory]:
        """A round of experience, task by task and episode by episode.

        Args:
          speeds: the tasks.
          from_prior: by episode, whether the description is from `N(0, I)`.
          as_context: by episode, whether later ones may see it as a context.
          context_size: transitions that a belief is from, drawn with replacement.
        """
        return [self._live(speed, from_prior, as_context, context_size) for speed in speeds]

    def _live(
        self,
        speed: float,
        from_prior: Sequence[bool],
        as_context: Sequence[bool],
        context_size: int,
    ) -> Memory:
        memory = self._blank(len(from_prior))
        shown: list[np.ndarray] = []
        for number, unknown in enumerate(from_prior):
            start = number * self.length
            belief = self.prior
            if shown and not unknown:
                known = np.concatenate(shown)
                belief = self.infer(memory, self._rng.choice(known, context_size))
            self.episode(speed, belief, memory, start, explore=True)
            if as_context[number]:
                shown.append(np.arange(start, start + self.length))
        return memory

    def adapt(self, speeds: Sequence[float], trajectories: int, exploration: int) -> np.ndarray:
        """Returns `[tasks, trajectories]` in new tasks, one after the other, of the policy's mode.

        Args:
          speeds: the tasks.
          trajectories: of each, an episode each.
          exploration: of them, the first ones, with descriptions from `N(0, I)`; from then on they
            are from what all before have shown.
        """
        returns = np.empty((len(speeds), trajectories))
        for task, speed in enumerate(speeds):
            memory = self._blank(trajectories)
            for number in range(trajectories):
                start = number * self.length
                known = number > 0 and number >= exploration
                belief = self.infer(memory, slice(start)) if known else self.prior
                self.episode(speed, belief, memory, start, explore=False)
                returns[task, number] = memory.reward[start : start + self.length].sum()
        return returns

    def _blank(self, episodes: int) -> Memory:
        steps, observed = episodes * self.length, (len(self._scale),)
        shapes = observed, (self._size,), (), observed
        return Memory(*(np.empty((steps, *shape), np.float32) for shape in shapes))


def _make_env(episode_length: int) -> Any:
    return gymnasium.make(
        ID,
        max_episode_steps=episode_length,
        disable_env_checker=True,
        exclude_current_positions_from_observation=False,
    )
