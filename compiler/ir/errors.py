"""The one exception that a user of Spikefab sees."""

from __future__ import annotations


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
