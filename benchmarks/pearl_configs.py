"""What the benchmarks of PEARL are made with, ours and the peer alike."""

from __future__ import annotations

from typing import NamedTuple

from behavior_priors.learners.pearl import PearlConfig
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.priors.context_encoder import ContextConfig


class Configs(NamedTuple):
    """All that decides what an update does."""

    pearl: PearlConfig
    sac: SACConfig
    context: ContextConfig


def make_configs(width: int = 300, encoder_width: int = 200) -> Configs:
    """Those of `experiments/flags/pearl/paper_cheetah_velocity.flags`, with widths of choice."""
    return Configs(
        PearlConfig(divergence_weight=0.8),
        SACConfig(policy_widths=(width,) * 3, critic_widths=(width,) * 3, reward_scale=5.0),
        ContextConfig(latent_size=5, widths=(encoder_width,) * 3),
    )
