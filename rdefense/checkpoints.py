"""Orbax v1, wrapped once: training states by step, and the latest of them.

Saves are atomic (Orbax renames a finished folder into place), so a killed run
finds its last complete checkpoint.
"""

import os

from etils.epath import Path
import jax
from orbax.checkpoint import v1 as ocp

from rdefense.parallel import Layout, layout
from rdefense.types import PyTree

__all__ = ['latest_step', 'load', 'missing', 'save']

_KEEP = 2
_POLICY = ocp.training.preservation_policies.LatestN(_KEEP)


def _open(directory, to_save: bool = False) -> ocp.training.Checkpointer:
  directory = Path(directory)
  if '://' not in os.fspath(directory):  # else it would become a local folder
    directory = directory.resolve()
  return ocp.training.Checkpointer(
    directory,
    preservation_policy=_POLICY,
    # What a killed run left half-written; a reader must not touch a writer's.
    cleanup_tmp_directories=to_save,
  )


def latest_step(directory) -> int | None:
  """Step of the newest complete checkpoint, or None where there is none."""
  if not Path(directory).is_dir():
    return None
  with _open(directory) as checkpointer:
    return checkpointer.latest.step if checkpointer.latest else None


def save(directory, step: int, state: PyTree) -> None:
  """Writes `state` as the checkpoint of `step`; the newest two are kept.

  Args:
    directory: folder of one model; made if missing.
    step: training step, growing.
    state: any tree of arrays.
  """
  with _open(directory, to_save=True) as checkpointer:
    checkpointer.save(step, state)


def missing(*directories) -> ValueError:
  """The error where none of these folders has a checkpoint."""
  searched = ' and '.join(map(str, directories))
  return ValueError(
    f'no checkpoint in {searched}: train this model first '
    '(python -m experiments.train with the same config and workdir).'
  )


def load(directory, template: PyTree, where: Layout | None = None) -> PyTree:
  """Reads the newest checkpoint.

  Args:
    directory: folder of one model.
    template: a tree of arrays or `jax.ShapeDtypeStruct` with the structure and
      shapes to expect.
    where: devices to copy it to; None means all of this process.

  Returns:
    A tree like `template`. Several processes have to ask for it together, as
    they save together.

  Raises:
    ValueError: where there is no checkpoint, or it holds another network.
  """
  if latest_step(directory) is None:
    raise missing(directory)
  copied = (layout() if where is None else where).copied
  abstract = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=copied), template
  )
  with _open(directory) as checkpointer:
    found = _shapes(checkpointer.metadata().metadata)
    wanted = _shapes(abstract)
    for name in sorted(found.keys() | wanted.keys()):
      if found.get(name) != wanted.get(name):
        raise ValueError(
          f'checkpoint {directory} holds another network: {name} is '
          f'{found.get(name, "absent")} there and {wanted.get(name, "absent")} '
          'in this config.'
        )
    return checkpointer.load(None, abstract)


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    '/'.join(_name(entry) for entry in path): tuple(leaf.shape)
    for path, leaf in leaves
    if hasattr(leaf, 'shape')
  }


def _name(entry) -> str:
  for attribute in ('key', 'name', 'idx'):
    if hasattr(entry, attribute):
      return str(getattr(entry, attribute))
  return str(entry)
