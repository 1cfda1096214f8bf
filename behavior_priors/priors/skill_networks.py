"""The networks of the skill model: what reads a sequence of actions, and what writes one."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.torso import Sight, see
from behavior_priors.types import Array, Observation, Params

LIMITS = (-10.0, 2.0)
"""Of the log standard deviations of posteriors, and of a Gaussian prior."""


class Encoder(nn.Module):
    """Mean and log standard deviation `[..., size]` of the skill of a sequence.

    The layer in front of the LSTM is linear and so is what each gate makes of its input, which is
    why both are one product for all steps, ahead of the recurrence: 1.4 times as fast on a CPU, at
    the sizes of the kitchen, as the cell step by step. Parameters are the layer's and the cell's.
    """

    embedding_width: int
    lstm_width: int
    size: int
    sight: Sight | None = None

    @nn.compact
    def __call__(self, action: Array, observation: Observation) -> tuple[Array, Array]:
        """Maps actions `[..., horizon, size]`, and observations where it has a sight."""
        steps = action
        if self.sight is not None:
            steps = jnp.concatenate([action, see(self.sight, observation)], axis=-1)
        batch, (horizon, features) = steps.shape[:-2], steps.shape[-2:]
        x = jnp.swapaxes(steps.reshape(-1, horizon, features), 0, 1)
        embedding = nn.Dense(self.embedding_width)
        cell = nn.OptimizedLSTMCell(self.lstm_width)
        if self.is_initializing():
            carry = jnp.zeros((2, x.shape[1], self.lstm_width))
            cell((carry[0], carry[1]), embedding(x[0]))
        last = _last_output(embedding.variables["params"], cell.variables["params"], x)
        head = nn.Dense(2 * self.size)(last).reshape(*batch, 2 * self.size)
        mean, log_std = jnp.split(head, 2, axis=-1)
        return mean, jnp.clip(log_std, *LIMITS)


def _last_output(embedding: Params, cell: Params, steps: Array) -> Array:
    """What a dense layer and an LSTM make of `[horizon, batch, features]`, at the last step.

    Args:
      embedding: parameters of `nn.Dense`.
      cell: parameters of `nn.OptimizedLSTMCell`.
      steps: of at least one step.
    """
    first, shift = embedding["kernel"], embedding["bias"]
    from_input, from_output = (
        jnp.concatenate([cell[f"{source}{gate}"]["kernel"] for gate in "ifgo"], axis=-1)
        for source in "ih"
    )
    bias = jnp.concatenate([cell[f"h{gate}"]["bias"] for gate in "ifgo"])
    (features, width), gates = first.shape, from_input.shape[1]
    # two axes: a product's gradient over three is three times as slow on a CPU
    rows = steps.reshape(-1, features)
    if features * gates < features * width + width * gates:
        x = rows @ (first @ from_input) + (shift @ from_input + bias)
    else:
        x = (rows @ first + shift) @ from_input + bias
    x = x.reshape(*steps.shape[:-1], gates)
    state = output = jnp.zeros((*steps.shape[1:-1], gates // 4))
    for step in range(steps.shape[0]):
        raw = x[step] + output @ from_output if step else x[0]
        enter, keep, new, show = jnp.split(raw, 4, axis=-1)
        state = nn.sigmoid(keep) * state + nn.sigmoid(enter) * nn.tanh(new)
        output = nn.sigmoid(show) * nn.tanh(state)
    return output


class OpenLoopDecoder(nn.Module):
    """Actions one after the other, from the skill and the action before.

    The first action before, and the LSTM's first state, are parameters.
    """

    width: int
    action_size: int

    def setup(self) -> None:
        self.cell = nn.OptimizedLSTMCell(self.width)
        self.head = nn.Dense(self.action_size)
        zeros = nn.initializers.zeros
        self.first_action = self.param("first_action", zeros, (self.action_size,))
        self.first_carry = self.param("first_carry", zeros, (2, self.width))

    def begin(self, skill: Array) -> dict[str, Array]:
        """The plan of a skill `[..., size]`."""
        batch = skill.shape[:-1]
        return {
            "skill": skill,
            "before": jnp.broadcast_to(self.first_action, (*batch, self.action_size)),
            "carry": jnp.broadcast_to(self.first_carry, (*batch, 2, self.width)),
        }

    def __call__(self, plan: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """The next action, and the plan after it."""
        carry = (plan["carry"][..., 0, :], plan["carry"][..., 1, :])
        x = jnp.concatenate([plan["before"], plan["skill"]], axis=-1)
        carry, output = self.cell(carry, x)
        action = self.head(output)
        return action, {**plan, "before": action, "carry": jnp.stack(carry, axis=-2)}
