"""The scripting functions, under the name that Ignition scripts know: `import system` is enough."""

from . import perspective

__all__ = ["perspective"]
