"""Profile `nir`: NIR's equations as they stand, for graphs that no exporter has coloured."""

from .profile import Profile

NIR = Profile(
    "nir",
    fixed={"discretisation": "euler"},
    defaults={"reset": "zero", "fires": ">"},
    said=("Every potential and current starts at 0: NIR has no initial values.",),
)
