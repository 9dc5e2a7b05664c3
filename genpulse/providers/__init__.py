"""Speaking with the clouds that generate."""
