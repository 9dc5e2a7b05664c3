"""`python -m genpulse.cli`, the same as `genpulse`: how the embedded stack starts its processes."""

from genpulse.cli import main

main()
