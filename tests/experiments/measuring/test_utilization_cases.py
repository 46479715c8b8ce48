"""What is measured is what the papers attack, sized for the device."""

import pytest

from experiments.measuring.utilization_cases import chosen, workloads


@pytest.fixture(scope='module')
def on():
  return {name: workloads(name) for name in ('cpu', 'gpu')}


def test_networks_and_attacks_are_those_of_the_papers(on):
  for every in on.values():
    found = {each.name: each.subject for each in every}
    assert list(found) == [
      'mnist_cnn', 'wide_resnet_10_5', 'mobilenet_v2', 'mobilenet_v2_rand_mix'
    ]  # fmt: skip
    shapes = [subject.shape for subject in found.values()]
    assert shapes == [(28, 28, 1), (32, 32, 3), (299, 299, 3), (299, 299, 3)]
    draws = [subject.recipe.num_draws for subject in found.values()]
    assert draws == [0, 0, 0, 100]  # PROTOCOL B2


def test_an_accelerator_gets_larger_batches_and_a_target(on):
  for here, there in zip(*on.values()):
    assert here.batch < there.batch and here.num_steps < there.num_steps
    assert not here.target
    assert bool(there.target) == (there.name != 'mnist_cnn')


def test_a_quick_run_has_one_image_and_few_draws():
  for each in workloads('gpu', quick=True):
    assert each.batch == each.num_steps == 1
    assert each.subject.recipe.num_draws <= 2 and not each.target


def test_some_are_chosen_and_batches_replaced(on):
  every = on['cpu']
  assert chosen(every, [], None) == every
  (only,) = chosen(every, ['mobilenet_v2'], 7)
  assert only == every[2]._replace(batch=7)


@pytest.mark.parametrize(
  'names, batch, words',
  [
    (['resnet'], None, "workloads='resnet' is unknown.*mnist_cnn"),
    ([], 0, 'batch=0 must be at least 1'),
  ],
)
def test_a_mistake_is_one_sentence(on, names, batch, words):
  with pytest.raises(ValueError, match=words) as error:
    chosen(on['cpu'], names, batch)
  assert str(error.value).count('.') == 1
