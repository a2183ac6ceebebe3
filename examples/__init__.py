"""Small trained networks with their inputs, each with the script that made it."""
