"""What a host does with a board: the link, boards as devices, bitstreams, diff, stream."""
