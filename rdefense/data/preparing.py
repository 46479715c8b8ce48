"""What our datasets of tensorflow-datasets have in common.

Each is prepared from a folder of images and a table, as ArrayRecord, with the
features `image`, `label` and `id`; see `gtsrb` and `nips17`.

>>> folder('NO_SUCH_VARIABLE', 'signs', '/data/tfds').as_posix()
'/data/signs'
"""

import functools
import os
import pathlib

from rdefense.data.sources import data_directory

__all__ = ['builder', 'folder', 'images_class']


def folder(
  variable: str, name: str, data_dir: str | os.PathLike[str] | None = None
) -> pathlib.Path:
  """Where the images of a dataset are looked for; it need not exist.

  Args:
    variable: of the environment, which names the folder where it is set.
    name: of the folder otherwise, beside the directory of prepared datasets.
    data_dir: see `sources.data_directory`.
  """
  named = os.environ.get(variable)
  if named:
    return pathlib.Path(named).expanduser()
  return data_directory(data_dir).parent / name


def builder(cls, data_dir: str | os.PathLike[str] | None = None):
  """A builder that writes ArrayRecord into `sources.data_directory`.

  Args:
    cls: of the builder, a subclass of `images_class()`.
    data_dir: see `sources.data_directory`.
  """
  return cls(
    data_dir=os.fspath(data_directory(data_dir)), file_format='array_record'
  )


@functools.cache
def images_class():
  """The base class of builders of labelled colour images.

  A subclass says how its splits are made, and has `SHAPE`, `NUM_CLASSES`,
  `HOMEPAGE` and `ORDERED`: do the images keep the order they are given in?
  """
  import tensorflow_datasets as tfds  # Slow to import, and only needed here.

  class Images(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')
    # There are no checksums beside this file; looking for them would need
    # importlib_resources.
    code_path = None

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=tfds.features.FeaturesDict(
          {
            'image': tfds.features.Image(
              shape=self.SHAPE, encoding_format='png'
            ),
            'label': tfds.features.ClassLabel(num_classes=self.NUM_CLASSES),
            'id': tfds.features.Text(),
          }
        ),
        homepage=self.HOMEPAGE,
        disable_shuffling=self.ORDERED,
      )

  return Images
