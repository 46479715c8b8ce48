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

from rdefense import build, checkpoints, files, parallel, training
from rdefense.defenses import codebooks

__all__ = [
  'fitted_codebook',
  'is_given',
  'load_params',
  'model_config',
  'trained_model',
]


def fitted_codebook(config, workdir) -> codebooks.Codebook | None:
  """The config's codebook; fitted to images of its split the first time."""
  used = {defense.name for defense in config.defenses.values()}
  if not used & set(build.WITH_CODEBOOK):
    return None
  path = Path(workdir) / 'codebook.npz'
  if parallel.is_first() and not path.exists():
    about = config.codebook.to_dict()
    images = build.dataset(config.data.to_dict(), about['split']).images
    told = ', '.join(f'{name}={value}' for name, value in about.items())
    print(f'Fits a codebook to {len(images):,} images: {told}.', flush=True)
    codebooks.save(path, build.codebook(about, images))
  parallel.wait('codebook')
  return codebooks.load(path)


def trained_model(config, workdir, name: str) -> Path:
  """Folder of a model's checkpoints: of the workdir, or of `config.pretrained`.

  The workdir's come first: what was re-trained behind this codebook has the
  name of what was re-trained behind that of `config.pretrained`.

  Raises:
    ValueError: if there are none, or its training has not come to its end.
  """
  homes = [
    Path(home).expanduser() for home in (workdir, config.pretrained) if home
  ]
  for home in homes:
    directory = home / 'models' / name
    step, last = _steps(home, name)
    if step is None:
      continue
    if step < last:
      raise ValueError(
        f'{directory} has done {step} of its {last} steps: train this model to '
        'its end first (python -m experiments.train goes on where it stopped).'
      )
    return directory
  raise checkpoints.missing(*(home / 'models' / name for home in homes))


def is_given(config, workdir, name: str) -> bool:
  """Whether `config.pretrained` has the undefended model of a run, whole.

  It needs no training then; one behind codes does, as the codes are others.
  """
  if not config.pretrained or config.runs[name].defense != 'none':
    return False
  own, _ = _steps(Path(workdir), name)
  step, last = _steps(Path(config.pretrained).expanduser(), name)
  return own is None and step is not None and step >= last


def _steps(home: Path, name: str) -> tuple[int | None, int]:
  """Of a model: those that are done, None without any, and those of its run.

  The latter are 0 where no config tells: models that were copied there alone.
  """
  claimed, last = home / 'config.json', 0
  if claimed.exists():
    run = files.read_json(claimed).get('runs', {}).get(name, {})
    last = run.get('num_steps', 0)
  return checkpoints.latest_step(home / 'models' / name), last


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
  directory = trained_model(config, workdir, name)
  return checkpoints.load(directory, template).params
