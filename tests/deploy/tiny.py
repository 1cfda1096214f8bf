"""Flags of runs that are over in seconds."""

from __future__ import annotations

TASK = ("--env=maze/test?distance=3&episode_length=20", "--data_env=maze/train?episode_length=60")
REAL_NVP = (
    "--data_episodes=8",
    "--real_nvp.couplings=2",
    "--real_nvp.encoder_widths=8",
    "--real_nvp.conditioner_widths=8",
    "--real_nvp.observation=velocity,patch",
    "--real_nvp_fit.steps=10",
    "--real_nvp_fit.steps_per_epoch=10",
)
SKILLS = (
    "--skill_vae.horizon=4",
    "--skill_vae.lstm_width=8",
    "--skill_vae_fit.steps=10",
    "--skill_vae_fit.steps_per_epoch=10",
)
ACT = (
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.num_envs=5",
    "--loop.steps=200",
    "--loop.epoch_steps=100",
    "--loop.warmup_steps=100",
    "--loop.updates_per_step=0.2",
    "--run.eval_every=0",
    "--report_episodes=0",
    "--eval_episodes=2",
    "--nofigures",
    "--video_episodes=0",
)
