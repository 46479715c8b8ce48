"""Training: natural, adversarial, certified, and on discretized images.

One step of every method is: make the images (attack them, or not), put the
defense in front (or not), take one Optax step on the cross-entropy; certified
training adds that of the worst logits of all reachable discretizations. The
adversarial images come from the very `attacks.driver` that evaluates, run
before the loss is differentiated. All randomness is a function of
(key, step, example), so a resumed run repeats the same steps exactly.

References:
  Madry et al., 2018, https://arxiv.org/abs/1706.06083; paper A's settings in
  PROTOCOL A7; fast adversarial training with few large steps: Wong, Rice,
  Kolter, 2020, https://arxiv.org/abs/2001.03994; interval bounds: Gowal et
  al., 2018, https://arxiv.org/abs/1810.12715.
"""

from rdefense.training.attacked import attacker
from rdefense.training.certified import certified_updater
from rdefense.training.state import TrainState, initial
from rdefense.training.updates import updater

__all__ = ['TrainState', 'attacker', 'certified_updater', 'initial', 'updater']
