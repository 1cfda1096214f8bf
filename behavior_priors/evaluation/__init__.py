"""How good a policy is: pure functions, below runs."""
