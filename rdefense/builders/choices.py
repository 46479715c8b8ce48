"""Names that a config may give."""

from typing import Any

__all__ = ['unknown']


def unknown(what: str, name: Any, choices) -> ValueError:
  listed = ', '.join(choices)
  return ValueError(f'unknown {what} {name!r} in the config; choose: {listed}.')
