"""Entry points with choices of their own: the papers' experiments, and how they called flags."""

from __future__ import annotations

from behavior_priors.methods.command_line import Preset

RUN = Preset(owner="run", by_method=True)

PARROT = Preset(
    owner="parrot",
    compares=True,
    flags=(
        "--methods=parrot,sac",
        "--gaussian.entropy_weight=0.1",
        "--gaussian_fit.steps=5000",
        "--gaussian_fit.steps_per_epoch=250",
        "--gaussian_fit.learning_rate=3e-4",
    ),
    former={
        r"flow\.(.*)": r"real_nvp.\1",
        r"fit\.(.*)": r"real_nvp_fit.\1",
        r"bc\.fit\.(.*)": r"gaussian_fit.\1",
        r"bc\.(.*)": r"gaussian.\1",
        r"latent_(.*)": r"parrot.latents.\1",
    },
)
"""Singh et al. 2021."""

SPIRL = Preset(
    owner="spirl",
    compares=True,
    flags=(
        "--methods=spirl",
        "--env=maze/test",
        "--data_episodes=4096",
        "--report_episodes=100",
        "--eval_episodes=100",
    ),
    former={
        r"method(=.*|)": r"methods\1",
        r"skills=none": "",
        r"skills(=.*|)": r"through\1",
        r"skill\.(.*)": r"skill_vae.\1",
        r"fit\.(.*)": r"skill_vae_fit.\1",
        r"clone\.(.*)": r"gaussian.\1",
        r"clone_fit\.(.*)": r"gaussian_fit.\1",
        r"divergence\.(.*)": r"spirl.divergence.\1",
        r"flat_divergence\.(.*)": r"flat_prior.divergence.\1",
        r"skill_bound(=.*|)": r"spirl.latents.bound\1",
        r"ssp_bound(=.*|)": r"ssp.latents.bound\1",
        r"squash_actions(=.*|)": "spirl.latents.squash_actions\\1\nssp.latents.squash_actions\\1",
        r"bound_once(=.*|)": r"sac.bound_once\1",
        r"start_from_prior=false|nostart_from_prior": "start_from=none",
        r"start_from_prior(=true)?": "",
        r"stay_close=false|nostay_close": "close_to=none",
        r"stay_close(=true)?": "",
    },
    by_method=True,
)
"""Pertsch et al. 2020."""

PEARL = Preset(
    owner="pearl",
    flags=("--methods=pearl", "--env=point/dense"),
    former={
        r"context\.encoder=product": "infer=product_of_gaussians",
        r"context\.encoder=recurrent": "infer=gru",
        r"context\.encoder(=.*|)": r"infer\1",
        r"context\.recurrent_width(.*)": r"gru.recurrent_width\1",
        r"(no)?context\.(.*)": "\\1product_of_gaussians.\\2\n\\1gru.\\2",
        r"(no)?loop\.(.*)": r"\1meta_loop.\2",
        r"train_tasks(=.*|)": r"tasks.train\1",
        r"test_tasks(=.*|)": r"tasks.test\1",
        r"task_seed(=.*|)": r"tasks.seed\1",
        r"oracle_episodes(=.*|)": r"tasks.oracle_episodes\1",
    },
)
"""Rakelly et al. 2019."""


PRESETS = (RUN, PARROT, SPIRL, PEARL)


def find_preset(owner: str) -> Preset | None:
    """The preset whose runs are called so; None if there is none."""
    return next((x for x in PRESETS if x.owner == owner), None)
