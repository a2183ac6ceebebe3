"""Frontends: from a file of some framework to a network graph."""
