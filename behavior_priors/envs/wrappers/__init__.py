"""Environments made of environments."""
