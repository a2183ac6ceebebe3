"""Passes: each takes a valid graph to a valid graph, and has its own checker."""
