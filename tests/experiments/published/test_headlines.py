"""The cells that tell of a table or figure: its figure, and how it was made."""

import json

from configs.paper import catalogue
from experiments import publish
from experiments.published import headlines
from rdefense import document

ENTRY = publish.Entry(
  75.0, 68.4, 80.8, 200, 'small', 'python -m experiments.evaluate', 'd' * 40,
  'Some CPU', 'yesterday', '%',
)  # fmt: skip
FOUND = {
  'mnist/nat_pre/clean': ENTRY._asdict(),
  'mnist/disc_adv_pre/eps0.3/paper_a': ENTRY._asdict(),
}
(*_, JOB) = catalogue.jobs('table2', 'mnist', 'small')


def test_an_attack_is_more_telling_than_clean_accuracy():
  key, figure, made = headlines.of_published(FOUND, 'table2', 'mnist')
  assert key == (
    'docs/results.json: `mnist/disc_adv_pre/eps0.3/paper_a`', 'n = 200',
    '2 figures',
  )  # fmt: skip
  assert isinstance(figure, document.Compared)
  assert figure[:3] == (75.0, 68.4, 80.8) and 97.24 in figure  # the paper's
  assert made == (
    f'published: preset `small`, Some CPU, commit `{"d" * 12}`, yesterday',
    '`python -m experiments.evaluate`',
  )


def test_nothing_is_told_of_what_is_not_measured():
  assert headlines.of_published(FOUND, 'table2', 'cifar10') == ('–', '–', ())


def test_a_record_that_cannot_be_read_is_one_sentence(tmp_path):
  record = tmp_path / 'results.json'
  told = [headlines.of_run(record, JOB, 'table2', 'mnist', '')]
  for text in ('{', json.dumps({'settings': {}})):
    record.write_text(text)
    told.append(headlines.of_run(record, JOB, 'table2', 'mnist', ''))
  for (*figure, why), words in zip(
    told, ('there is no', 'not valid JSON', 'of another form'), strict=True
  ):
    assert figure == ['–', '–'] and words in why
