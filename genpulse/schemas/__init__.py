"""Contracts shared by every room: pure Pydantic models and enums, no I/O."""
