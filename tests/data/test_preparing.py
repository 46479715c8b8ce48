"""Where datasets of images are looked for."""

from rdefense.data import preparing


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
  data = tmp_path / 'tfds'
  assert preparing.folder('SIGNS_DIR', 'signs', data) == tmp_path / 'signs'
  monkeypatch.setenv('SIGNS_DIR', '~/elsewhere')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert preparing.folder('SIGNS_DIR', 'signs', data) == tmp_path / 'elsewhere'
