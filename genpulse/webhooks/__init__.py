"""Webhooks out: signed as Standard Webhooks, sent through the address guard, tried for days."""
