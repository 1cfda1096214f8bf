"""PARROT (Singh et al. 2021): collect, learn a prior, learn a new task through it, SAC beside it.

    python -m experiments.parrot --flagfile=experiments/flags/parrot/quick.flags

With `--methods=parrot,sac,bc_sac` also SAC that starts from a policy cloned from the same data. It
is `experiments.run` with the paper's methods.
"""

from __future__ import annotations

from behavior_priors.methods.presets import PARROT
from experiments import run

if __name__ == "__main__":
    run.start(PARROT)
