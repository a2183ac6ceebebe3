"""Speed measured side by side with the simulators that a user could install instead.

Nothing is imported here: the peers run in environments of their own, in which neither Numba nor
Spikefab is installed, and take only `workloads` and `protocol` from this package.
"""
