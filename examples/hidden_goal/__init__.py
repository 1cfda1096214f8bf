"""Many tasks of one gymnasium environment, listed in a file: PEARL infers which it is."""
