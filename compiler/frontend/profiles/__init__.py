"""What exporters take for granted and do not write: a profile for each.

`PROFILES` is the one list of them, by name; everything that one of them says is in its module.
"""

from .nir_itself import NIR
from .norse import NORSE
from .profile import Profile
from .rockpool import ROCKPOOL
from .sinabs import SINABS
from .snntorch import SNNTORCH
from .spikingjelly import SPIKINGJELLY

__all__ = ["PROFILES", "Profile"]

PROFILES: dict[str, Profile] = {
    p.name: p for p in (NIR, SNNTORCH, NORSE, SINABS, SPIKINGJELLY, ROCKPOOL)
}
