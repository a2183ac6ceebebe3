"""Engines that run in `.venv-peers`: each a process that speaks `protocol`."""
