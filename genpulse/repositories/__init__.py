"""The only SQL: one module per subject, functions that take a session and never commit."""
