"""What would train nothing, or the wrong way, is told before it starts."""

import pytest

from configs import digits
from experiments.studies import run_checks


@pytest.mark.parametrize(
  'change, words',
  [
    ({'runs.adv.attack.step_size': -1.0}, 'step_size of training=-1'),
    ({'runs.adv.attack.alpha': -1.0}, 'alpha'),
    ({'runs.adv.attack.num_steps': -1}, 'num_steps of training=-1'),
    ({'runs.adv.learning_rate': -1.0}, 'learning_rate=-1'),
    ({'runs.adv.eps_ramp': -1.0}, 'eps_ramp=-1'),
    ({'runs.adv.batch_size': 0}, 'batch_size=0'),
    ({'runs.adv.reduction': 'average'}, "reduction='average'"),
    ({'model.name': 'digit'}, "'digit'"),
    ({'data.judged_on': 'tets'}, "data.judged_on='tets'"),
    ({'defenses.none.name': 'identiy'}, "'identiy'"),
  ],
  ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_a_run_that_cannot_be_is_refused(change, words):
  config = digits.get_config('smoke')
  run_checks.check(config, config.runs.adv)
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=words):
    run_checks.check(config, config.runs.adv)


def test_codes_are_measured_in_a_norm_that_there_is():
  config = digits.get_config('smoke')
  config.defenses.discretized.norm = 'l7'
  with pytest.raises(ValueError, match="norm='l7'"):
    run_checks.check(config, config.runs.nat_re)
