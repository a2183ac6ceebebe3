"""The one exception that a user of Spikefab sees."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

MOST_NAMED = 24  # names that a message lists


class SpikefabError(Exception):
    """A fault in what the user gave, said in one line: ``WHAT in WHERE: WHY; TRY``.

    what: the fault; where: file, node, population or option, in the user's own names;
    why: the limit and the value that broke it; hint: what would work.
    """

    def __init__(self, what: str, where: str = "", why: str = "", hint: str = "") -> None:
        self.what, self.where, self.why, self.hint = (
            " ".join(str(part).split()) for part in (what, where, why, hint)
        )
        text = self.what
        if self.where:
            text += f" in {self.where}"
        if self.why:
            text += f": {self.why}"
        if self.hint:
            text += f"; {self.hint}"
        super().__init__(text)


def unknown(name: object, where: str, known: Sequence[str]) -> SpikefabError:
    """That a name is not there, with the one that comes closest and those that are."""
    near = difflib.get_close_matches(str(name), known, 1)
    listed = ", ".join(f"'{k}'" for k in known[:MOST_NAMED]) or "none"
    if len(known) > MOST_NAMED:
        listed += f" and {len(known) - MOST_NAMED} more"
    meant = f"did you mean '{near[0]}'? " if near else ""
    return SpikefabError(f"no '{name}'", where, hint=f"{meant}it has {listed}")
