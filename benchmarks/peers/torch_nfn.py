"""The opponent: the nfn package in PyTorch, as a server on its own Python.

Reads one JSON request per line: {build: {channels, depth, batch, threads}} makes a network of that
size, {run: 'forward' or 'step', times} times it and answers {seconds: [...], peak_mb}. wsjax does
not import this file.
"""

import json
import resource
import sys
import time

import torch
from nfn import layers
from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat
from torch import nn

WIDTHS = (2, 32, 32, 1)


class Bench:
  """One network of networks, its optimizer and a batch."""

  def __init__(self, channels, depth, batch, threads):  # noqa: D107
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pairs = list(zip(WIDTHS, WIDTHS[1:], strict=False))
    weights = [torch.randn(batch, 1, out, fan_in) for fan_in, out in pairs]
    biases = [torch.randn(batch, 1, out) for _, out in pairs]
    self.features = WeightSpaceFeatures(weights, biases)
    spec = network_spec_from_wsfeat(self.features)
    stack = []
    for fan_in in (1, *(channels,) * (depth - 1)):
      stack += [layers.NPLinear(spec, fan_in, channels, io_embed=True), layers.TupleOp(nn.ReLU())]
    pooled = channels * layers.HNPPool.get_num_outs(spec)
    self.net = nn.Sequential(
      *stack, layers.HNPPool(spec), nn.Flatten(start_dim=1), nn.Linear(pooled, 10)
    )
    self.labels = torch.randint(10, (batch,))
    self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-3)

  def forward(self):
    """Inference on the batch."""
    with torch.no_grad():
      self.net(self.features)

  def step(self):
    """Forward, backward, update."""
    self.optimizer.zero_grad()
    loss = nn.functional.cross_entropy(self.net(self.features), self.labels)
    loss.backward()
    self.optimizer.step()


def main():
  """Answers until standard input ends."""
  bench = None
  for line in sys.stdin:
    request = json.loads(line)
    if 'build' in request:
      bench = Bench(**request['build'])
      count = sum(p.numel() for p in bench.net.parameters())
      answer = {'num_params': count}
    else:
      seconds = []
      for _ in range(request['times']):
        start = time.perf_counter()
        getattr(bench, request['run'])()
        seconds.append(time.perf_counter() - start)
      peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
      answer = {'seconds': seconds, 'peak_mb': peak}
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
