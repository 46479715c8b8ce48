"""Rows of one setting are of one model."""

import numpy as np
import pytest

from experiments.studies import origins


def test_rows_of_a_model_that_was_trained_again_are_not_gone_on_with(tmp_path):
  params = {'w': np.arange(4.0), 'b': np.zeros(2)}
  origins.bind(tmp_path, 'disc_nat_re', params)
  origins.bind(
    tmp_path, 'disc_nat_re', {k: v.copy() for k, v in params.items()}
  )
  other = params | {'w': np.nextafter(params['w'], 1)}
  origins.bind(tmp_path, 'disc_nat_pre', other)  # each has its own
  with pytest.raises(ValueError, match='disc_nat_re by another model.*remove'):
    origins.bind(tmp_path, 'disc_nat_re', other)
