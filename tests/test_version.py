"""The version is that of setup.cfg, whether or not anyone asks for it."""

import configparser
import pathlib

import pytest

import rdefense


def test_the_version_is_that_of_setup_cfg():
  config = configparser.ConfigParser()
  config.read(pathlib.Path(__file__).resolve().parents[1] / 'setup.cfg')
  assert rdefense.__version__ == config['metadata']['version']


def test_there_is_no_other_attribute():
  with pytest.raises(AttributeError, match="no attribute 'version'"):
    rdefense.version  # noqa: B018
