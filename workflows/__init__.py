"""What happens, in which order, and what happens on failure."""
