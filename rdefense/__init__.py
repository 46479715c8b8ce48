"""What does it buy to put a transformation in front of an image classifier?"""

from importlib import metadata


def __getattr__(name: str) -> str:
  """`rdefense.__version__`, as it was installed."""
  if name == '__version__':
    return metadata.version('rdefense')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
