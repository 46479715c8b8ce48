"""How every program starts: a mistake of its user is one sentence and status 2.

A bug of ours, or of a library, keeps its traceback.
"""

from collections.abc import Callable, Sequence
import difflib
import os
import shlex
import sys
import traceback

from absl import app, flags
from etils.epath import Path
import jax

from experiments.running import allocation, preemption
from rdefense import checks

__all__ = [
  'call',
  'check_no_file',
  'command_line',
  'folder',
  'one_device_a_core',
  'run',
  'status',
  'tell',
]

_OURS = ('rdefense', 'experiments', 'configs', '__main__')


def one_device_a_core() -> None:
  """Makes each CPU core a device, so that examples are split over them.

  For large networks: one batch whose every operation XLA runs on all cores
  leaves them idle in between. Call it before JAX starts; whoever has set
  `JAX_NUM_CPU_DEVICES`, or forces a count in `XLA_FLAGS`, keeps it.
  """
  forced = 'device_count' in os.environ.get('XLA_FLAGS', '')
  if forced or 'JAX_NUM_CPU_DEVICES' in os.environ:
    return
  by_affinity = hasattr(os, 'sched_getaffinity')  # not on macOS
  cores = len(os.sched_getaffinity(0)) if by_affinity else os.cpu_count()
  jax.config.update('jax_num_cpu_devices', cores or 1)


def run(main: Callable) -> None:
  """`absl.app.run` that tells users what they did wrong, and nothing else.

  Args:
    main: `(argv) -> None`. A `ValueError` that our own code raises, what it
      says of an extra that is not installed, and any `OSError`, is printed as
      `error: ...`; SIGTERM ends it with a sentence and `preemption.STATUS`.
  """
  allocation.keep_freed()
  # Of the others, draws for an image depend on its batch; TPUs may have them.
  jax.config.update('jax_default_prng_impl', checks.THREEFRY)
  try:
    app.run(main, flags_parser=_parsed)
  except (
    ModuleNotFoundError,
    OSError,
    ValueError,
    preemption.Stopped,
  ) as error:
    if status(error) == 1:
      raise
    tell(error)
    sys.exit(status(error))


def call(main: Callable, command: Sequence[str]) -> None:
  """Runs another program in this process, as its command line would.

  Args:
    main: `(argv) -> None` of that program.
    command: its name and arguments; what it records of how it was called.
      All flags have their defaults but for these, now and afterwards.

  Raises:
    ValueError: on a word that is no flag; and what main raises.
  """
  before = sys.argv
  sys.argv = list(command)
  try:
    for name in list(flags.FLAGS):
      if '.' in name:  # config_flags', for an entry of another config
        delattr(flags.FLAGS, name)
      else:
        flags.FLAGS[name].unparse()
    main(_flags_alone(flags.FLAGS(sys.argv)))
  finally:
    sys.argv = before


def command_line(name: str) -> str:
  """The line that started this run of `experiments.<name>`."""
  return shlex.join(['python', '-m', f'experiments.{name}', *sys.argv[1:]])


def folder(flag: str, value: str) -> Path:
  """The folder that a flag names, of this machine or in a bucket.

  A leading `~` is the user's home: shells leave it behind the `=` of a flag.

  Raises:
    ValueError: if it is in a bucket and what reads buckets is not installed;
      if it, or one above it, is a file.
  """
  path = Path(value).expanduser()
  try:
    path.exists()
  except ImportError as error:
    raise ValueError(
      f'--{flag}={value} is in a bucket ({error}): install the extra gcs, or '
      'choose a folder of this machine.'
    ) from error
  check_no_file(flag, value)
  return path


def check_no_file(flag: str, value: str) -> None:
  """Refuses a folder that is a file, or lies below one; looks at no bucket.

  Raises:
    ValueError: if it, or one above it, is a file.
  """
  if '://' in value:
    return
  path = Path(value).expanduser()
  for part in (path, *path.parents):
    if part.is_file():
      raise ValueError(f'--{flag}={value}: {part} is a file, not a folder.')


def tell(error: BaseException) -> None:
  """Prints the sentence of a user's mistake, or the traceback of a bug."""
  if isinstance(error, preemption.Stopped):
    print(error, file=sys.stderr)
  elif _is_users(error):
    _print(error)
  else:
    traceback.print_exception(error)


def status(error: BaseException) -> int:
  """What a program ends with: 2 for a mistake of its user, 1 for a bug."""
  if isinstance(error, SystemExit):
    return error.code if isinstance(error.code, int) else 1
  return 2 if _is_users(error) else 1


def _parsed(argv):
  if 'config' in flags.FLAGS:
    _check_config_file(argv)
  try:
    left = flags.FLAGS(argv)
  except flags.Error as error:
    # Of an error inside get_config(), config_flags quotes the traceback.
    *_, last = str(error).strip().splitlines()
    found = last.strip().partition('ValueError: ')[2]
    _fail(found if found else error)
  except AttributeError as error:  # config_flags: --config.KEY with a wrong KEY
    (found,) = error.args  # a KeyError, whose text is the repr of its message
    key, _, guess = ''.join(getattr(found, 'args', (found,))).partition('\n')
    if "no attribute 'get_config'" in key:
      _fail('the file of --config has no get_config(): it is no config.')
    look = guess or 'look at the file of --config.'
    _fail(f'the config has no entry {key}: {look}')
  return _flags_alone(left)


def _check_config_file(argv) -> None:
  """Fails where --config names no file, in fewer words than config_flags."""
  for word, following in zip(argv, (*argv[1:], '')):
    flag, is_given, value = word.partition('=')
    name = (value if is_given else following).partition(':')[0]
    if flag.lstrip('-') != 'config' or not (is_given or following):
      continue
    if Path(name).is_file():
      continue
    beside = Path(name).parent
    there = [path.name for path in beside.glob('*.py')]
    guesses = difflib.get_close_matches(Path(name).name, there, 1)
    guess = f': did you mean {beside / guesses[0]}?' if guesses else '.'
    _fail(f'--config={name} is no file{guess}')


def _flags_alone(left):
  """What is left of a command line, its program; no program has arguments."""
  if len(left) > 1:
    raise ValueError(f'{left[1]} is no flag: what is it meant to be?')
  return left


def _is_users(error: BaseException) -> bool:
  if isinstance(error, ModuleNotFoundError):
    return error.name is None  # a sentence of ours, and no import's
  if not isinstance(error, ValueError):
    return isinstance(error, OSError)
  *_, (frame, _) = traceback.walk_tb(error.__traceback__)
  return frame.f_globals['__name__'].partition('.')[0] in _OURS


def _fail(error) -> None:
  _print(error)
  sys.exit(2)


def _print(error) -> None:
  print('error:', ' '.join(str(error).split()), file=sys.stderr)
