"""What lies where in a workdir, shared by the programs.

  config.json           the config the workdir belongs to
  codebook.npz          fitted once, with its provenance
  models/<name>         checkpoints
  <name>.metrics.jsonl  training metrics
  records/...           one row an example
  results.json, report.md, report.html, *.png
"""

from pathlib import Path

import jax

from rdefense import build, checkpoints, training
from rdefense.defenses import codebooks

__all__ = ['fitted_codebook', 'load_params', 'model_directory']


def fitted_codebook(config, workdir) -> codebooks.Codebook | None:
  """The config's codebook; fitted to the training images the first time."""
  used = {defense.name for defense in config.defenses.values()}
  if not used & set(build.WITH_CODEBOOK):
    return None
  path = Path(workdir) / 'codebook.npz'
  if not path.exists():
    images = build.dataset(config.data.to_dict(), 'train').images
    codebooks.save(path, build.codebook(config.codebook.to_dict(), images))
  return codebooks.load(path)


def model_directory(config, workdir, name: str) -> Path:
  """Models of an earlier workdir (`config.pretrained`) come before our own."""
  if config.pretrained:
    earlier = Path(config.pretrained) / 'models' / name
    if checkpoints.latest_step(earlier) is not None:
      return earlier
  return Path(workdir) / 'models' / name


def load_params(config, workdir, name: str, network, defense, x):
  """Parameters of a trained model; `x` is one image `[H, W, C]`.

  Where the config's model has `weights`, they come from that file.
  """
  if 'weights' in config.model:
    return build.pretrained(config.model.to_dict(), network.num_classes)
  tx = build.optimizer(config.runs[name].to_dict())
  template = jax.eval_shape(
    lambda key, x: training.initial(network, tx, key, defense.apply(key, x)),
    jax.random.key(0),
    x,
  )
  directory = model_directory(config, workdir, name)
  return checkpoints.load(directory, template).params
