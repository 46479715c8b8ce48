"""How a step of training is compiled."""

import jax
import pytest

from rdefense.training import state


@pytest.fixture(autouse=True)
def asked_anew():
  state._options.cache_clear()
  yield
  state._options.cache_clear()


def test_a_cpu_takes_the_option_and_no_other_device_does():
  assert state._options('cpu') == state._CPU
  assert state._options('gpu') == state._options('tpu') == {}


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
  monkeypatch.setattr(state, '_CPU', {'xla_cpu_gone': 'true'})
  update = state.compiled(lambda s, x: (s + x, x), None, None)
  assert state._options(jax.default_backend()) == {}
  assert update(1.0, 2.0) == (3.0, 2.0)
