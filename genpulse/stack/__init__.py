"""The embedded stack: Temporal, API and workers as child processes of this one, with their state in one folder."""

from genpulse.stack.data_dir import DataDir, read_admin_key
from genpulse.stack.embedded import EmbeddedStack, embedded_stack
from genpulse.stack.errors import StackError
from genpulse.stack.ports import Ports, free_port

__all__ = ["DataDir", "EmbeddedStack", "Ports", "StackError", "embedded_stack", "free_port", "read_admin_key"]
