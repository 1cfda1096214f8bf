"""One program of `benchmarks.startup`: everything from the interpreter to the first update.

    python -m benchmarks.first_update ours|sbx

It prints the critics' loss as soon as the first update is done.
"""

from __future__ import annotations

import sys

NUM_ENVS = 32
UPDATES = 8
BATCH_SIZE = 256
OBSERVATION_SIZE = 56
ACTION_SIZE = 7


def ours() -> float:
    """PARROT's program: physics, an untrained flow, SAC in its latent space, replay."""
    import jax

    from behavior_priors.envs.registry import make_env
    from behavior_priors.envs.wrappers.decode import decode_action
    from behavior_priors.learners.sac import SACConfig, make_sac
    from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
    from behavior_priors.training.loop import LoopConfig, make_loop

    env = make_env("grasp/mug")
    prior = make_real_nvp(RealNVPConfig(), env.observation_spec, env.action_spec)
    env = decode_action(env, prior, jax.jit(prior.init)(jax.random.key(0)), None)
    # two rounds of steps, of which the second is followed by updates
    config = LoopConfig(
        steps=100 * 2 * NUM_ENVS,
        epoch_steps=2 * NUM_ENVS,
        num_envs=NUM_ENVS,
        warmup_steps=NUM_ENVS,
        updates_per_step=UPDATES / NUM_ENVS,
        batch_size=BATCH_SIZE,
    )
    loop = make_loop(env, make_sac(SACConfig(), env.observation_spec, env.action_spec), config)
    _, metrics = loop.run_epoch(jax.jit(loop.init)(jax.random.key(1)))
    return float(metrics["train/critic_loss"])


def sbx() -> float:
    """The same number of steps and updates in an environment of equal sizes without physics."""
    import gymnasium
    import numpy as np
    from sbx import SAC

    class Still(gymnasium.Env):
        """Nothing moves."""

        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (OBSERVATION_SIZE,))
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_SIZE,))

        def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
            return np.zeros(OBSERVATION_SIZE, np.float32), {}

        def step(self, action):  # type: ignore[no-untyped-def]
            return np.zeros(OBSERVATION_SIZE, np.float32), 0.0, False, False, {}

    model = SAC(
        "MlpPolicy",
        Still(),
        learning_starts=NUM_ENVS,
        train_freq=(NUM_ENVS, "step"),  # type: ignore[arg-type]
        gradient_steps=UPDATES,
        batch_size=BATCH_SIZE,
    )
    model.learn(2 * NUM_ENVS)
    return float(model.logger.name_to_value["train/critic_loss"])


if __name__ == "__main__":
    print({"ours": ours, "sbx": sbx}[sys.argv[1]](), flush=True)
