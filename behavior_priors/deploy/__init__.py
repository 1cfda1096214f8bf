"""Policies that leave: used outside of their run, with or without this library."""
