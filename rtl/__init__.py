"""Gateware of a chip in Amaranth, lowered from the same models. It comes with the next issue."""
