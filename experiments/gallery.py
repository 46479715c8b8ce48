"""One page with a link to every report there is: `<root>/index.html`.

  python -m experiments.gallery --root=runs

For every table and figure of `configs/paper/catalogue.py` and each of its data
sets: the reports with their first picture, the most telling figure beside the
paper's, with its interval, and how it was made; or the command that makes it.
All of it is read from what programs have recorded in the folder of their runs
and in docs/results.json. Addresses are relative: the folder may be moved.
"""

from collections.abc import Iterator, Mapping
import re
import shlex
from typing import Any

from absl import flags
from etils.epath import Path

from configs.paper import catalogue
from configs.paper.catalogue import CATALOGUE
from experiments import publish
from experiments.published import conclusions, headlines
from experiments.reproducing import journal
from experiments.running import program
from rdefense import document, files, pages

__all__ = ['write']

# May be overridden: `experiments.reproduce` has flags of the same names.
_ROOT = flags.DEFINE_string(
  'root', None, 'Folder of all runs; runs, or runs/<preset> if not small.',
  allow_override=True,
)  # fmt: skip
_PRESET = flags.DEFINE_enum(
  'preset', 'small', ['small', 'paper', 'smoke'], 'Of the runs to look for.',
  allow_override=True,
)  # fmt: skip

# Program -> its page and its record.
_MADE = {
  'evaluate': ('report.html', 'results.json'),
  'certify': ('certificates.html', 'certificates.json'),
  'hardness': ('report.html', 'hardness.json'),
  'clusters': ('clusters.html', 'clusters.json'),
  'idealized': ('idealized.html', 'idealized.json'),
}
_HEADER = ('data set', 'report', 'figure', "ours and the paper's", 'made by')


def write(
  root: Path, preset: str = 'small', published: Path | None = None
) -> Path:
  """Writes the page.

  Args:
    root: folder of all runs.
    preset: of the runs to look for: small, paper or smoke.
    published: docs/results.json, or where it lies.

  Returns:
    The path of the page.
  """
  root = Path(root)
  told: dict[str, Mapping[str, Any]] = {}
  wrong: list[tuple] = []
  for name, read in (
    ('journal', lambda: journal.read(root)),
    ('published', lambda: _read(published or publish.RESULTS)),
  ):
    try:
      told[name] = read()
    except ValueError as error:
      told[name] = {}
      wrong.append(('paragraph', str(error)))
  seen: set[Path] = set()  # pages that a link is there for
  sections: list[tuple] = []
  for what, item in CATALOGUE.items():
    rows = [
      row
      for dataset in item.datasets
      for row in _rows(root, what, dataset, preset, told, seen)
    ]
    sections += [('heading', 2, item.title), ('table', _HEADER, rows)]
  blocks: list[tuple] = [
    ('heading', 1, 'Reports'),
    (
      'paragraph',
      f'{len(seen)} reports of tables and figures of both papers, and what is '
      'not there yet. In brackets exact 95% intervals; orange: the paper.',
    ),
    *wrong,
    *sections,
    ('heading', 2, 'What the papers conclude, by docs/results.json'),
    ('table', conclusions.HEADER, conclusions.lines(told['published'])),
    *_others(root, seen),
  ]
  page = document.page('Reports', blocks)
  return files.write_bytes(root / 'index.html', page.encode())


def _read(path: Path) -> Mapping[str, Any]:
  return files.read_json(path) if path.exists() else {}


def _rows(
  root: Path, what: str, dataset: str, preset: str, told, seen: set[Path]
) -> Iterator[tuple]:
  """Of a table or figure: its page, its runs, and what is missing."""
  name = dataset or '–'
  page = root / 'tables' / f'{what}_{dataset}.html'
  if page.is_file():
    seen.add(page)
    yield (name, _link(root, page, 'the table'), '', '', '')
  missing, ran = [], False
  jobs = catalogue.jobs(what, dataset, preset)
  for job in jobs:
    if job.program not in _MADE:
      continue
    page, record = (root / job.workdir / file for file in _MADE[job.program])
    if page.is_file():
      seen.add(page)
      ran = True
      training = _training(told['journal'], jobs, job.workdir)
      yield (
        name,
        _link(root, page, job.workdir),
        *headlines.of_run(record, job, what, dataset, training),
      )
    else:
      missing.append(f'{job.workdir}/{page.name}')
  if missing:
    known = {} if ran else told['published']
    *figure, made = headlines.of_published(known, what, dataset)
    command = f'`{_command(root, what, dataset, preset)}`'
    yield (
      name,
      ('not run yet', ', '.join(missing)),
      *figure,
      (command, *made),
    )


def _command(root: Path, what: str, dataset: str, preset: str) -> str:
  words = ['python', '-m', 'experiments.reproduce', f'--what={what}']
  words += [f'--dataset={dataset}'] if dataset else []
  return shlex.join([*words, f'--preset={preset}', f'--root={root}'])


def _training(told, jobs, workdir: str) -> str:
  """How long its models took, where the journal has them."""
  spent = [
    journal.seconds(told, job)
    for job in jobs
    if (job.program, job.workdir) == ('train', workdir)
  ]
  known = [seconds for seconds in spent if seconds is not None]
  return f'; training {pages.wall_time(sum(known))}' if known else ''


def _link(root: Path, page: Path, text: str) -> document.Link:
  """A link with the first picture of the report, as its Markdown names it."""
  beside = page.with_suffix('.md')
  read = beside.read_bytes() if beside.is_file() else b''
  words = read.decode(errors='replace')
  pictures = [
    page.with_name(name) for name in re.findall(r'\]\(([\w-]+\.png)\)', words)
  ]
  shown = next((path for path in pictures if path.is_file()), None)
  relative = lambda path: path.relative_to(root).as_posix()
  return document.Link(text, relative(page), relative(shown) if shown else '')


def _others(root: Path, seen: set[Path]) -> list[tuple]:
  """Pages of runs that belong to no table or figure."""
  pages = files.matching(root, '*/*.html')
  found = [page for page in pages if page not in seen]
  if not found:
    return []
  rows = [
    (_link(root, page, page.relative_to(root).as_posix()),) for page in found
  ]
  return [('heading', 2, 'Other pages'), ('table', ('report',), rows)]


def main(argv):
  """Writes the page and prints its path."""
  del argv
  if publish.ASKED.value:
    raise ValueError(
      '--publish is for a program that measures; this one links to what others '
      'have written: leave it out.'
    )
  preset = _PRESET.value
  root = program.folder('root', _ROOT.value or journal.default_root(preset))
  if not root.is_dir():
    raise ValueError(f'--root={root} is no folder: where do the runs lie?')
  print(write(root, preset))


if __name__ == '__main__':
  program.run(main)
