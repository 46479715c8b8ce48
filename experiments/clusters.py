"""Pixels of an image in the plane of colour, by cluster: paper B's Figure 1.

  python -m experiments.clusters \
    --config=configs/paper/table_2a.py --workdir=runs/b_figure_1

One test image, attacked and not, through RandDisc under one key: its pixels by
a and b of CIELAB, coloured by the centre they are replaced by, and the same
with the noise that RandDisc adds before it looks for the nearest centre. Writes
clusters.html to the workdir.
"""

import time
from typing import Any

from absl import flags, logging
from etils.epath import Path
import jax
import jax.numpy as jnp
import numpy as np

from experiments import publish
from experiments.running import program, study_flags
from experiments.studies import conditions
from experiments.studies.pipelines import pipelines
from rdefense import (
  build,
  checks,
  data,
  deployed,
  evaluation,
  files,
  pages,
  plots,
  provenance,
)
from rdefense.analysis.color_clusters import Clusters, clusters, lab, matched
from rdefense.data.batches import Batch
from rdefense.defenses.randomized import discretize_with

_SETTING = flags.DEFINE_string(
  'setting', '', 'With hard centres; default: randdisc.', allow_override=True
)
_IMAGE = flags.DEFINE_integer('image', 0, 'Number of the test image.')

_CLUSTERS = 4  # role folded into the seed's key
_HARD = ('rand_disc', 'rand_disc_fixed')


def measure(
  target,
  sigma: float,
  condition: conditions.Condition,
  norm: str,
  key,
  batch: Batch,
  source=None,
) -> dict[str, Any]:
  """Clusters of one image, clean and attacked, under the same randomness.

  Args:
    target: a `deployed.Target`; its defense gives each pixel one of its
      centres.
    sigma: of the noise that it adds to pixels first.
    condition: the attack, of the study.
    norm: of its ball.
    key: consumed.
    batch: of one example, of three channels.
    source: the target that the attack is computed on; None means `target`.

  Returns:
    What the report shows, and under `views` what is drawn.
  """
  attack_key, draw_key, other_key = jax.random.split(key, 3)
  said = evaluation.attack(
    target, condition.recipes, norm, condition.eps, attack_key, batch,
    source=source,
  )  # fmt: skip
  defense = target.defend(target.codes, 1.0)
  # The same key, the same noise: this is what the nearest centre is sought for.
  as_seen = lambda seen, centers: seen
  nowhere = lambda key, x: jnp.zeros((1, 3))
  noisy = discretize_with(nowhere, sigma, as_seen, as_seen)
  apply, add = jax.jit(defense.apply), jax.jit(noisy.apply)
  again = lambda: jax.random.clone(draw_key)
  x, z = batch.image[0], said.z[0]
  out, out_z = (np.asarray(apply(again(), image)) for image in (x, z))
  clean = clusters(out)
  attacked = matched(clusters(out_z), clean)
  redrawn = matched(clusters(np.asarray(apply(other_key, x))), clean)
  seen = np.asarray(add(again(), x))
  unattacked, _ = deployed.judge(
    target, attack_key, batch.index, batch.image, batch.label
  )
  return {
    'eps': condition.eps,
    'source': condition.source,
    'label': int(batch.label[0]),
    'right': {
      'clean': float((unattacked[0] == batch.label[0]).mean()),
      'attacked': float((said.draws[0] == batch.label[0]).mean()),
    },
    'clusters': {
      name: {'centers': its.centers, 'pixels': its.pixels}
      for name, its in (('clean', clean), ('attacked', attacked))
    },
    'moved': {
      'attack': float((attacked.member != clean.member).mean()),
      'other_draw': float((redrawn.member != clean.member).mean()),
    },
    'views': [
      _view('clean', x, out, clean),
      _view('attacked', z, out_z, attacked),
      _view('clean and noise', seen, out, clean),
    ],
  }


def _view(title: str, image, transformed, found: Clusters):
  return plots.ClusterView(
    title,
    image,
    transformed,
    lab(image).reshape(-1, 3)[:, 1:],
    found.member.reshape(-1),
    lab(found.centers)[:, 1:],
    found.centers,
  )


def write_report(workdir: Path, results: dict[str, Any]) -> Path:
  """The picture, with what moved in a table."""
  name, number = results['setting'], results['image']
  title = f'{name}: colours of image {number}, by cluster'
  png = plots.encode_png(plots.color_clusters(results['views'], title))
  moved, right = results['moved'], results['right']
  source = results['source']
  rows = []
  for image, its in results['clusters'].items():
    for i, (center, pixels) in enumerate(
      zip(its['centers'], its['pixels'], strict=True), 1
    ):
      light, a, b = lab(center)
      levels = ', '.join(f'{255 * c:.0f}' for c in center)
      rows.append((image, str(i), levels, f'{light:.0f}', f'{a:.0f}',
                   f'{b:.0f}', f'{pixels:,}'))  # fmt: skip
  blocks: list[tuple] = [
    ('heading', 1, title),
    (
      'paragraph',
      f'The attack of radius {255 * results["eps"]:g}/255'
      f'{source and f", computed on `{source}`,"} sends '
      f'{moved["attack"]:.1%} of the pixels to another centre under the same '
      'randomness; other randomness without an attack '
      f'{moved["other_draw"]:.1%}. Right in {right["clean"]:.0%} of the draws '
      f'without the attack and in {right["attacked"]:.0%} under it.',
    ),
    ('figure', 'figure_1', png,
     'Pixels in the plane of CIELAB, each in the colour of its cluster; '
     'centres, in their own, are ringed by it. What noise puts outside of '
     '[0, 1] is clipped to be drawn.'),
    ('table', ('image', 'cluster', 'centre, levels', 'L', 'a', 'b', 'pixels'),
     rows),
    *pages.how_it_was_made(results),
  ]  # fmt: skip
  return pages.write_document(
    workdir, 'clusters', title, blocks, {'figure_1': png}
  )


def _attack(config, kind: str, name: str) -> conditions.Condition:
  """The one of the study's picture, at the radius of its threat.

  Raises:
    ValueError: where there is none, or its images were made elsewhere.
  """
  found = {c.name: c for c in conditions.conditions(config, kind, name)}
  attack = config.strip.attack
  wanted = f'{conditions.radius(config, float(config.threat.eps))}/{attack}'
  if wanted not in found:
    raise ValueError(
      f'{name} is not attacked under {wanted}, of --config.strip.attack and '
      f'--config.threat.eps: its conditions are {", ".join(found)}.'
    )
  if not found[wanted].recipes:
    raise ValueError(
      f'--config.strip.attack={attack} is of images made elsewhere: no attack '
      'would be run here.'
    )
  return found[wanted]


def main(argv):
  """Attacks one image, and shows its clusters."""
  del argv
  logging.set_verbosity(logging.WARNING)
  config, workdir = study_flags.config(), study_flags.workdir()
  begin = time.time()
  name = _SETTING.value or 'randdisc'
  checks.check_choice('setting', name, config.settings)
  about = config.defenses[config.settings[name].defense]
  if about.name not in _HARD:
    raise ValueError(
      f'--setting={name} is behind {about.name}, which does not give each '
      f'pixel one of a few centres; {" or ".join(_HARD)} does.'
    )
  condition = _attack(config, build.kind(about), name)
  with provenance.claimed(workdir, config.to_dict()):
    test = build.dataset(config.data.to_dict(), config.data.judged_on)
    number = _IMAGE.value
    if not 0 <= number < len(test.images) or test.images.shape[-1] != 3:
      raise ValueError(
        f'--image={number} must be one of {len(test.images)} images of three '
        f'channels; they have {test.images.shape[-1]}.'
      )
    pipeline = pipelines(config, workdir, test, None)
    _, target = pipeline(name)
  source = pipeline(condition.source)[1] if condition.source else None
  key = jax.random.fold_in(jax.random.key(config.seed), _CLUSTERS)
  results = measure(
    target, float(about.sigma), condition, config.threat.norm, key,
    data.gather(test, np.array([number])), source,
  ) | {'setting': name, 'image': number}  # fmt: skip
  results |= publish.surroundings(config, 'clusters', begin)
  page = write_report(workdir, results)
  del results['views']
  files.write_json(workdir / 'clusters.json', results)
  print(page)


if __name__ == '__main__':
  program.run(main)
