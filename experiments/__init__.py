"""Programs: the papers' experiments, and what is done with their data and their runs."""

from behavior_priors.system import interrupts

interrupts.in_one_line()
