"""The soft actor-critics of SBX (JAX) and Stable-Baselines3 (torch), with nets and batches given.

Imported only where they are installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import sbx
import stable_baselines3
import torch
from stable_baselines3.common import logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Kernels `[inputs, outputs]` and biases `[outputs]`, from the input to the output."""


class Spaces(gymnasium.Env):
    """An environment that is asked for nothing but its spaces."""

    def __init__(self, observation_size: int, action_size: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation_size,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_size,))


def make(
    library: str, data: Mapping[str, np.ndarray], widths: tuple[int, ...], temperature: float
) -> Any:
    """A model of `sbx` or `stable_baselines3` whose replay buffer holds the given transitions.

    Args:
      library: whose.
      data: `observation`, `action`, `reward`, `terminated` and `next_observation`, `[rows, ...]`.
      widths: hidden layers of every network.
      temperature: initial, then tuned.
    """
    algorithm = {"sbx": sbx.SAC, "stable_baselines3": stable_baselines3.SAC}[library]
    rows = len(data["reward"])
    model = algorithm(
        "MlpPolicy",
        Spaces(data["observation"].shape[1], data["action"].shape[1]),
        buffer_size=rows,
        ent_coef=f"auto_{temperature}",
        policy_kwargs={"net_arch": list(widths)},
        device="cpu",
        seed=0,
    )
    model.set_logger(logger.Logger(folder=None, output_formats=[]))
    for i in range(rows):
        model.replay_buffer.add(
            data["observation"][i],
            data["next_observation"][i],
            data["action"][i],
            data["reward"][i],
            data["terminated"][i],
            [{}],
        )
    return model


def always_sample(model: Any, batch: Mapping[str, np.ndarray]) -> None:
    """Makes every draw from a model's replay buffer the given batch."""
    tensors = {name: torch.as_tensor(x, dtype=torch.float32) for name, x in batch.items()}
    samples = ReplayBufferSamples(
        observations=tensors["observation"],
        actions=tensors["action"],
        next_observations=tensors["next_observation"],
        dones=tensors["terminated"][:, None],
        rewards=tensors["reward"][:, None],
    )
    model.replay_buffer.sample = lambda *_, **__: samples


def losses(model: Any, batch_size: int) -> tuple[float, float]:
    """Updates once; returns the critics' loss and the policy's."""
    model.train(1, batch_size)
    values = model.logger.name_to_value
    return float(values["train/critic_loss"]), float(values["train/actor_loss"])


def set_weights(library: str, model: Any, policy: Layers, critics: list[Layers]) -> None:
    """Copies weights into a model.

    Args:
      library: whose model it is.
      model: to be changed; its optimisers have not been used.
      policy: hidden layers, the mean's, the log standard deviation's.
      critics: hidden layers and the output's, of each critic; also for the target critics.
    """
    if library == "sbx":
        actor = {"params": {f"Dense_{i}": _linen(*layer) for i, layer in enumerate(policy)}}
        stacked = jax.tree.map(
            lambda *copies: jnp.stack(copies),
            *({f"Dense_{i}": _linen(*x) for i, x in enumerate(layers)} for layers in critics),
        )
        critic = {"params": {"VmapContinuousCritic_0": stacked}}
        state = model.policy
        state.actor_state = state.actor_state.replace(params=actor)
        state.qf_state = state.qf_state.replace(params=critic, target_params=critic)
        return
    *hidden, mean, log_std = policy
    named = {f"actor.latent_pi.{2 * i}": layer for i, layer in enumerate(hidden)}
    named |= {"actor.mu": mean, "actor.log_std": log_std}
    for number, layers in enumerate(critics):
        for i, layer in enumerate(layers):
            named[f"critic.qf{number}.{2 * i}"] = layer
            named[f"critic_target.qf{number}.{2 * i}"] = layer
    model.policy.load_state_dict(
        {f"{name}.weight": torch.tensor(kernel.T) for name, (kernel, _) in named.items()}
        | {f"{name}.bias": torch.tensor(bias) for name, (_, bias) in named.items()}
    )


def _linen(kernel: np.ndarray, bias: np.ndarray) -> dict[str, jax.Array]:
    return {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
