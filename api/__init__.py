"""The HTTP front: it reads requests, asks the core, and words the answers."""
