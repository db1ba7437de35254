r"""Generators of MNIST CNNs: densities, selection, a flow, a hypernetwork.

  wsjax data prepare mnist --from DIR
  wsjax sweep --config configs/ablations/mnist_cnn.py --workdir runs/mnist_cnn

One zoo of 128 CNNs with 1,898 weights, three training seeds per arm. Source of
the question: Schürholt et al. 2024, arXiv:2406.09997, whose CNNs on MNIST have
2,464 weights and 92.1 %; published there 68.6 % (kernel density of
hyper-representations), 84.8 % (of their embeddings) and 86.7 % (the best of
many by validation accuracy, SUB); a diffusion of parameters has 93.3 %.

Hardware: 2 CPU cores.
Time: 10 to 20 min per arm beside other work, most of it evaluation.
Measured: 64 networks per seed, 3 training seeds, one zoo (92.8 %); 95 %
intervals; distance in tau; spread over that of the zoo; G, G1/2, G_b. No copies
[0, 1.9].

  kernel density  54.8 [52.9, 56.8]  0.96  0.90   0     0     0 %
  SUB             74.2 [73.3, 75.1]  0.94  0.87   0     0     0
  BOOT            78.9 [78.2, 79.7]  0.97  0.87   0     0     0
  flow matching   75.4 [73.1, 77.2]  0.58  0.68   0     0     0
  hypernetwork    94.0 [93.6, 94.4]  1.06  1.01  72.9  99.5  88.5

Published, of embeddings: 84.8 and 86.7 %; here all but the hypernetwork are of
64 principal components. Averages of two aligned networks have 74.9 % [72.3,
77.4], as the flow has.
"""

from collections.abc import Iterator
from typing import Any

SIMPLE = 'configs/simple.py:rig=mnist_cnn,generator='
ARMS = {
  'kernel density': (f'{SIMPLE}kde', {}),
  'SUB': (f'{SIMPLE}best_of_n', {}),
  'BOOT': (f'{SIMPLE}best_of_n', {'generator.rounds': 4}),
  'flow matching': (f'{SIMPLE}flow_matching', {}),
  'hypernetwork': ('configs/hypernetwork.py:rig=mnist_cnn', {'train.steps': 2_000}),
}
SHARED = {
  'zoo.path': 'runs/zoos/mnist_cnn',
  'train.seeds': (0, 1, 2),
  # Most of the time is spent on what networks answer to 10,000 images.
  'evaluate.num_samples': 64,
}


def sweep() -> Iterator[tuple[str, str, dict[str, Any]]]:
  """Yields (run name, config, overrides): 5 arms."""
  for arm, (config, changes) in ARMS.items():
    yield arm.replace(' ', '_').lower(), config, SHARED | changes
