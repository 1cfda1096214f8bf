"""How parameters are learned: priors from data, agents from experience."""
