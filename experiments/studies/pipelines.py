"""From settings of a config to the pipelines that are attacked and decided."""

from collections.abc import Callable
import functools

from experiments.studies import origins
from experiments.studies.workdir import load_params, model_config
from rdefense import build, deployed
from rdefense.data import batches

__all__ = ['pipelines']


def pipelines(
  config, workdir, test, book
) -> Callable[[str], tuple[str, deployed.Target]]:
  """Kind and pipeline of a setting by name; they share what is compiled."""
  x = next(batches(test, 1)).image[0]

  @functools.cache
  def network(name):
    about = model_config(config, name)
    return build.classifier(about, test.num_classes)

  @functools.cache
  def defend(name):
    return build.defend(config.defenses[name].to_dict())

  def params(setting, defense):
    about = model_config(config, setting.network)
    if build.has_weights(about):
      return build.pretrained(about, test.num_classes)
    return load_params(
      config, workdir, setting.model, network(setting.network), defense, x
    )

  @functools.cache
  def pipeline(name):
    setting = config.settings[name]
    about = config.defenses[setting.defense]
    kind, defense = build.kind(about), defend(setting.defense)
    with_codes = book and about.name in build.WITH_CODEBOOK
    codes = book.codes if with_codes else None
    trained = params(setting, defense(codes, 1.0))
    origins.bind(workdir, name, trained)
    return kind, deployed.Target(
      network(setting.network).apply,
      defense,
      trained,
      codes,
      config.num_draws if kind == 'randomized' else 0,
    )

  return pipeline
