"""The networks that are counted are those of the papers, as configured."""

from experiments.measuring import costs
from experiments.scale import cases, workload


def test_every_network_is_there_with_its_defense():
  found = {(case.name, case.defense): case for case in cases.cases()}
  assert set(found) == {
    ('mnist_cnn', 'nearest_code_2'),
    ('gowal_cnn_small', 'nearest_code_2'),
    ('gowal_cnn_medium', 'nearest_code_2'),
    ('gowal_cnn_large', 'nearest_code_2'),
    ('wide_resnet_1_1', 'nearest_code_300'),
    ('wide_resnet_10_5', 'nearest_code_300'),
    ('mnist_cnn', 'rand_mix'),
    ('mobilenet_v2', 'rand_mix'),
    ('inception_resnet_v2', 'rand_mix'),
  }
  shapes = {data.shape for data in workload.DATA.values()}
  for case in found.values():
    assert case.plain.shape == case.defended.shape in shapes
    assert case.plain.codes is None and case.plain.recipe.num_draws == 0
    noisy = case.defense == 'rand_mix'
    assert (case.defended.codes is None) == noisy
    assert (case.defended.recipe.num_draws > 0) == noisy
    assert (case.batch_size > 0) <= (case.plain.tx is not None)
  assert found['mobilenet_v2', 'rand_mix'].defended.recipe.num_draws == 100
  assert found['wide_resnet_10_5', 'nearest_code_300'].defended.codes == (
    300,
    3,
  )


def test_attacks_are_told_by_study_kind_and_name():
  found = {tuple(about): chosen for *about, chosen in cases.recipes()}
  assert costs.gradients(found['mnist', 'plain', 'pgd100']) == 100
  assert costs.gradients(found['table_2a', 'randomized', 'paper_b']) == 1000
  assert ('mnist', 'randomized', 'paper_b') not in found
