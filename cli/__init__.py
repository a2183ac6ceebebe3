"""The spikefab command."""
