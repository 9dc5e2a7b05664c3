"""Trains the two small pipelines that ship with GenPulse, from nothing but the pictures drawn here."""
