"""Programs that start other programs."""

from behavior_priors.system import interrupts

interrupts.in_one_line()
