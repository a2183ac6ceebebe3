"""What a host does with a board: link, bitstream, diff. It comes with a later issue."""
