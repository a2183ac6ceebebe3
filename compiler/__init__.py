"""From a network description to a program: frontends, passes, float reference, report."""
