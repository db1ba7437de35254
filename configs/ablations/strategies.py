r"""Strategies of training a flow, one switch per arm.

  wsjax sweep --config configs/ablations/strategies.py --workdir runs/strategies

Flow matching on one zoo of digits 64-16-10, three training seeds. Arms differ
from `plain` by optimal transport between noise and networks, random orbits
instead of a canonical form, the snapshots of every run, patience with the loss
of held-out networks, a first layer that counts four times, and half of the
training networks. Two are drawn as `plain`, but led by the loss on 256 training
images, or trained on for 50 steps.

Hardware: 2 CPU cores shared with other work.
Time: 20 min for all arms beside two other jobs.
Measured: 128 networks per seed, 3 training seeds, one zoo of 512 (with
snapshots another one of 512); accuracy with its 95 % interval, distance and
spread. No copies [0, 1.0] and G 0 of 384 [0, 1.0] in every arm; G1/2 and G_b
are 0, too, in the first seven.

  plain         82.3 % [80.1, 84.6]  0.86 tau  0.74
  transport     83.4 % [80.9, 85.8]  0.84 tau  0.70
  augmented     69.0 % [66.4, 71.7]  0.93 tau  0.82
  trajectory    80.3 % [78.0, 82.6]  0.85 tau  0.69
  patience      80.9 % [78.5, 83.3]  0.88 tau  0.77
  first layer   81.9 % [79.7, 84.2]  0.86 tau  0.74
  half the zoo  84.6 % [82.4, 86.9]  0.78 tau  0.65
  led           93.1 % [90.9, 95.1]  0.89 tau  0.84
  refined       95.1 % [93.1, 96.9]  0.87 tau  0.78

So orbits at random cost 13 points, and what else differs is within the
intervals or is bought with spread: no distribution loss passes a gate.
Being led passes G1/2 at 2.1 % [0.9, 4.1] and G_b at 1.8 % [0.7, 3.7]; 50 steps
of the zoo's recipe, an eighth of a run, at 51.8 % [46.7, 56.9] and 35.9 %
[31.1, 41.0], where copies with noise, trained on for as long, have 0 and 61.7.
A network takes 5.9 ms refined and 0.41 s led, compilation included. Behaviour
in the loss passes all three, `functional_loss.py`.
"""

from collections.abc import Iterator
from typing import Any

BASE = 'configs/digits_flow.py'
ARMS = {
  'plain': (BASE, {}),
  'transport': (BASE, {'generator.coupling': 'transport'}),
  'augmented': (f'{BASE}:canonicalize=none', {'strategy.augment': True}),
  'trajectory': (BASE, {'strategy.trajectory': True, 'zoo.recipe.snapshots': (200, 300)}),
  'patience': (BASE, {'train.patience': 3, 'train.keep_best': 1}),
  'first layer': (BASE, {'normalize.weights': (('layer0', 4.0),)}),
  'half the zoo': (BASE, {'strategy.num_train': 256}),
  # Of 0.01 to 100, on validation images and one seed, the one that does what 10 steps of refining
  # do.
  'led': (BASE, {'sample.task_scale': 30.0}),
  'refined': (BASE, {'sample.refine_steps': 50}),
}
SHARED = {'train.seeds': (0, 1, 2)}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 9 arms."""
  for arm, (config, changes) in ARMS.items():
    # Snapshots make another zoo.
    zoo = 'digits_64_16_10' + ('_snapshots' if arm == 'trajectory' else '')
    yield (arm.replace(' ', '_'), config, {'zoo.path': f'runs/zoos/{zoo}', **SHARED, **changes})
