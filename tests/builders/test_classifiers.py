"""Networks of several members."""

import pytest

from rdefense import build


def test_an_ensemble_needs_members():
  with pytest.raises(ValueError, match='ensemble of 0 members'):
    build.classifier({'name': 'ensemble'}, 10)
