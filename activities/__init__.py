"""The only door from a workflow to the world."""
