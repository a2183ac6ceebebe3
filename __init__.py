"""Spikefab: from a trained spiking neural network to a bit-exact fixed-point neuromorphic core.

What it gives is in `api`, which is loaded with the first of its names: that takes most of a second,
in which the command can be interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """A name of the API, or a folder that it has loaded."""
        from importlib import import_module

        if name == "__all__" or not name.startswith("__"):
            api = import_module(".api", __name__)
            globals().update({each: getattr(api, each) for each in ("__all__", *api.__all__)})
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

    def __dir__() -> list[str]:
        """The names of the API too."""
        return sorted({*globals(), *__getattr__("__all__")})
