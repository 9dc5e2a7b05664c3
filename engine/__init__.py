"""Local inference: paths in, paths out; knows nothing of HTTP, SQL or Temporal."""
