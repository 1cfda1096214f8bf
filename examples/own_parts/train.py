"""A prior, a learner and an environment of one's own, together, as a library user would.

    python -m examples.own_parts.train

Learns the autoencoder of `cvae_prior.py` from demonstrations of `examples/push`, and the new task
through it with the learner of `td3.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp

from behavior_priors.config import flags
from behavior_priors.config.ranges import Episodes, Limit, Seed, TwoOrMore
from behavior_priors.data.collect import collect
from behavior_priors.data.dataset import load_transitions, split_by_episode
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.wrappers.decode import decode_action
from behavior_priors.evaluation.evaluate import make_evaluate
from behavior_priors.keys import named_key
from behavior_priors.programs import entry
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.training.loop import LoopConfig, make_loop
from examples.own_parts.cvae_prior import CVAEConfig, make_cvae
from examples.own_parts.td3 import TD3Config, make_td3


@dataclass(frozen=True)
class TrainConfig:
    """The program's flags.

    Attributes:
      env: the new task.
      data: folder of the demonstrations; collected there if there are none.
      episodes: demonstrations to collect.
      eval_episodes: episodes of the final evaluation.
      seed: of everything random.
      bound: of the latents.
      cvae: the prior.
      fit: its training.
      td3: the learner.
      loop: the learner's experience.
    """

    env: str = "examples.push.push_env:north_east"
    data: str = "runs/own_parts/data"
    episodes: TwoOrMore = 1_000
    eval_episodes: Episodes = 400
    seed: Seed = 0
    bound: Limit = 2.0
    cvae: CVAEConfig = field(default_factory=CVAEConfig)
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=3_000, steps_per_epoch=1_000))
    td3: TD3Config = field(default_factory=lambda: TD3Config(widths=(64, 64), discount=0.95))
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=64_000, updates_per_step=0.5))


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(TrainConfig)
    env = make_env(config.env)
    data_env = make_env(env.info["data_env"], flag="data_env")
    episodes = collect(data_env, Path(config.data), config.episodes, config.seed, resume=True)
    train, validation = (
        jax.tree.map(jnp.asarray, load_transitions(episodes, tuple(env.observation_spec), part))
        for part in split_by_episode(episodes.num_episodes, 0.1, config.seed)
    )

    prior = make_cvae(config.cvae, env.observation_spec, env.action_spec)
    fitted = fit(prior, config.fit, train, validation, named_key(config.seed, "fit"))
    print(f"prior: validation loss {float(fitted.best_loss):.3f}", flush=True)

    latent_env = decode_action(env, prior, fitted.best_params, config.bound)
    learner = make_td3(config.td3, latent_env.observation_spec, latent_env.action_spec)
    loop = make_loop(latent_env, learner, config.loop)
    state = loop.init(named_key(config.seed, "learn"))
    while int(state.steps) < config.loop.steps:
        state, metrics = loop.run_epoch(state)
        success = float(metrics["episode/success"])
        print(f"{int(state.steps)} steps: success {success:.1%} while exploring", flush=True)

    evaluate = make_evaluate(latent_env, learner, config.eval_episodes, stochastic=False)
    scores = evaluate(state.learner.policy, named_key(config.seed, "evaluate"))
    print(f"success {float(scores['success_rate']):.1%} of {config.eval_episodes} episodes")


if __name__ == "__main__":
    flags.define(TrainConfig)
    entry.run(main)
