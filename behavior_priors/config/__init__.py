"""Configs on the command line: flags, the ranges of numbers, and one voice for refusals."""
