"""GenPulse: one HTTP API for generative images, video and speech, run as Temporal workflows."""

__version__ = "0.1.0"
