"""SPiRL (Pertsch et al. 2020): learn skills and a prior over them, learn a new task with both.

    python -m experiments.spirl --flagfile=experiments/flags/spirl/maze_quick.flags
    python -m experiments.spirl --flagfile=... --method=ssp --skills=WORKDIR_OF_THE_RUN_ABOVE

Its baselines are the other values of `--method`. It is `experiments.run` with the paper's methods.
"""

from __future__ import annotations

from behavior_priors.methods.presets import SPIRL
from experiments import run

if __name__ == "__main__":
    run.start(SPIRL)
