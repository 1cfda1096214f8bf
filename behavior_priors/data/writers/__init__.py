"""Datasets in the formats of other libraries."""
