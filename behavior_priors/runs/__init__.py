"""What survives a kill: folders of runs, their stages, checkpoints and metrics."""
