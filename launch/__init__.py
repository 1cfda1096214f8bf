"""Programs that start other programs."""

from behavior_priors import interrupts

interrupts.in_one_line()
