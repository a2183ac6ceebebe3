"""Runs a program on this machine: Numba kernels, recording, checkpoints."""
