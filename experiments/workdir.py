"""What lies where in a workdir, shared by the programs.

config.json           the config the workdir belongs to
codebook.npz          fitted once, with its provenance
models/<name>         checkpoints
<name>.metrics.jsonl  training metrics
records/...           one row an example
results.json, report.md, report.html, *.png
"""

from etils.epath import Path
import jax

from rdefense import build, checkpoints, parallel, training
from rdefense.defenses import codebooks

__all__ = ['fitted_codebook', 'load_params', 'model_config', 'model_directory']


def fitted_codebook(config, workdir) -> codebooks.Codebook | None:
  """The config's codebook; fitted to images of its split the first time."""
  used = {defense.name for defense in config.defenses.values()}
  if not used & set(build.WITH_CODEBOOK):
    return None
  path = Path(workdir) / 'codebook.npz'
  if parallel.is_first() and not path.exists():
    about = config.codebook.to_dict()
    images = build.dataset(config.data.to_dict(), about['split']).images
    codebooks.save(path, build.codebook(about, images))
  parallel.wait('codebook')
  return codebooks.load(path)


def model_directory(config, workdir, name: str) -> Path:
  """Models of an earlier workdir (`config.pretrained`) come before our own."""
  if config.pretrained:
    earlier = Path(config.pretrained) / 'models' / name
    if checkpoints.latest_step(earlier) is not None:
      return earlier
  return Path(workdir) / 'models' / name


def model_config(config, network: str) -> dict:
  """Of a setting's network: one of `config.networks`, or `config.model` ('').

  Raises:
    ValueError: if the config names no such network.
  """
  if not network:
    return config.model.to_dict()
  if network not in config.networks:
    listed = ', '.join(config.networks) or 'none'
    raise ValueError(
      f'unknown network {network!r} of a setting; the config has: {listed}.'
    )
  return config.networks[network].to_dict()


def load_params(config, workdir, name: str, network, defense, x):
  """Parameters of a model trained here; `x` is one image `[H, W, C]`."""
  tx = build.optimizer(config.runs[name].to_dict())
  template = jax.eval_shape(
    lambda key, x: training.initial(network, tx, key, defense.apply(key, x)),
    jax.random.key(0),
    x,
  )
  directory = model_directory(config, workdir, name)
  return checkpoints.load(directory, template).params
