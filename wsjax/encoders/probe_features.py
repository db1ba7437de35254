"""Probe features: what every neuron answers to learned questions.

A few inputs are learned, the network is run on them, and each neuron carries its activations. They
move with the neuron, so a graph encoder that reads them stays equivariant.

Source: Kofinas et al. 2024, arXiv:2403.12143, section 3.3.
"""

import flax.linen as nn
import jax

from wsjax import typing
from wsjax.layers import dense_graph
from wsjax.models import model as model_lib


class ProbeFeatures(nn.Module):
  """Activations of the neurons of one network, as one vector each.

  Attributes:
    architecture: its `forward` is what is asked.
    num_probes: questions.
    width: of the vectors.
  """

  architecture: model_lib.Model
  num_probes: int
  width: int

  @nn.compact
  def __call__(self, params: typing.Params) -> jax.Array:
    """Weights of one network, as they are run -> [N, width]."""
    shape = (self.num_probes, *self.architecture.input_shape)
    questions = self.param('questions', nn.initializers.normal(0.5), shape)
    outputs, hidden = self.architecture.forward(params, questions)
    graph = dense_graph.wiring(self.architecture.spec)
    last = len(graph.sets) - 1
    pieces = []
    for number, each in enumerate(graph.sets):
      answers = outputs if number == last else hidden.get(each.group)
      if answers is not None:
        read = nn.Dense(self.width, name=f'set{number}')
        pieces.append((number, read(answers.T)))
    return dense_graph.by_set(graph, pieces, self.width)
