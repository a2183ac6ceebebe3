"""Networks that learn on the chip, each a script with a picture and a figure."""
