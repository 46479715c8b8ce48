"""The most telling figure of a table or figure, and how it was made.

Of a run, by what its program has recorded beside its report, or of what
docs/results.json has where there is no run. Cells of the page of
`experiments.gallery`.
"""

from collections.abc import Mapping
from typing import Any

from etils.epath import Path

from configs.paper.catalogue import Job
from configs.paper.published import PUBLISHED
from experiments import publish
from experiments.analyses import hardness_report
from experiments.analyses.hardness_cases import STUDIES
from experiments.published import coverage
from experiments.published.cells import shown
from experiments.published.results import Entry, published_key, shortened
from experiments.studies import certificates
from rdefense import document, files, pages

__all__ = ['of_published', 'of_run']


def of_run(
  record: Path, job: Job, what: str, dataset: str, training: str
) -> tuple:
  """Figure, comparison and origin of a run; one sentence where unreadable.

  Args:
    record: what the program has recorded.
    job: the program.
    what: the table or figure, a name of `catalogue.CATALOGUE`.
    dataset: which of its data sets; '' if it has none.
    training: how long its models took, in words.

  Returns:
    Three cells of a row.
  """
  if not record.is_file():
    return '–', '–', f'there is no {record.name} beside the report.'
  try:
    results = files.read_json(record)
    made = _made(results, training)
    found = _entries(job, results)
    keys = coverage.measured(what, dataset, found)
    return *_headline(found, keys), made
  except ValueError as error:
    return '–', '–', str(error)
  except (AttributeError, KeyError, TypeError) as error:
    return '–', '–', f'{record} is of another form: {error!r}.'


def of_published(found, what: str, dataset: str) -> tuple:
  """Figure, comparison and origin of what docs/results.json has.

  Args:
    found: key -> fields of `Entry`.
    what: the table or figure, a name of `catalogue.CATALOGUE`.
    dataset: which of its data sets; '' if it has none.

  Returns:
    Three cells of a row, the last a tuple of its lines.
  """
  keys = coverage.measured(what, dataset, found)
  if not keys:
    return '–', '–', ()
  entry = Entry(**found[keys[0]])
  where = _where(entry.preset, entry.device, entry.commit)
  made = (f'published: {where}, {entry.date}', f'`{entry.command}`')
  return *_headline(found, keys, 'docs/results.json: '), made


def _entries(job: Job, results) -> dict[str, Mapping[str, Any]]:
  """Key -> fields of `Entry`: what the program publishes of its results."""
  match job.program:
    case 'evaluate':
      config = results['config']
      prefix = publish.prefix(config['name'], config['codebook_name'])
      found = publish.entries(results, prefix)
    case 'certify':
      dataset = results['config']['data']['name']
      found = certificates.entries(results, dataset)
    case 'hardness':
      study = STUDIES[results['dataset']]
      found = hardness_report.entries(study, results)
    case _:
      found = {}
  return {key: entry._asdict() for key, entry in found.items()}


def _headline(found, keys: list[str], before: str = ''):
  """The figure of the first key, with n, and the paper's beside it."""
  if not keys:
    return '–', '–'
  entry = Entry(**found[keys[0]])
  n = '' if entry.examples is None else f'n = {entry.examples:,}'
  key = (f'{before}`{keys[0]}`', n, f'{len(keys)} figures')
  paper = PUBLISHED.get(published_key(keys[0]), ())
  low, high = entry.low, entry.high
  if entry.unit != '%' or low is None or high is None or entry.target:
    return key, (shown(keys[0], entry), entry.target)
  return key, document.Compared(entry.value, low, high, *paper)


def _made(results, training: str) -> tuple[str, ...]:
  about = results['environment']
  where = _where(results['preset'], about['device'], publish.commit_of(about))
  return (
    where,
    f'{about["date"]}, {pages.wall_time(results["seconds"])}{training}',
    f'`{results["command"]}`',
  )


def _where(preset: str, device: str, commit: str) -> str:
  return f'preset `{preset}`, {device}, commit `{shortened(commit)}`'
