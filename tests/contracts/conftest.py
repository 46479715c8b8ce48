"""Settings of the contract tests."""

import jax
import pytest


@pytest.fixture(scope='module', autouse=True)
def quick_compilation():
  """Little of what runs here runs long: compiling takes most of the time."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
