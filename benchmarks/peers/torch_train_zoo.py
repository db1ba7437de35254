"""The opponent: the same training in PyTorch, as a server on its own Python.

Reads one JSON request per line, {task, method, threads, nets, steps, group}, and answers {seconds,
cpu_seconds, loss}. Data and optimiser are those of the product: every net has its own order of the
data, Adam, cross-entropy (or mean squared error on all pixels of its own image). wsjax does not
import this file.
"""

import functools
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional

OMEGA = 30.0


class Sine(nn.Module):
  """sin(omega x)."""

  def forward(self, x):  # noqa: D102
    return torch.sin(OMEGA * x)


@functools.cache
def data(task, size):
  """Random data of the size of the real one; its content costs no time."""
  generator = torch.Generator().manual_seed(0)
  if task['kind'] == 'image_fitting':
    grid = torch.rand(task['batch'], task['widths'][0], generator=generator)
    return grid, torch.rand(size, task['batch'], 1, generator=generator)
  x = torch.rand(task['examples'], task['widths'][0], generator=generator)
  y = torch.randint(10, (task['examples'],), generator=generator)
  return x, y


class Task(dict):
  """A task from a request; hashable by what it says."""

  def __hash__(self):
    return hash(json.dumps(self, sort_keys=True))


def make_net(task):
  """A network as anybody would write it."""
  layers = []
  widths = task['widths']
  for fan_in, fan_out in zip(widths, widths[1:], strict=False):
    layers += [nn.Linear(fan_in, fan_out)]
    layers += [Sine() if task['kind'] == 'image_fitting' else nn.ReLU()]
  return nn.Sequential(*layers[:-1])


def order(task, steps):
  """[steps, batch] rows: a permutation per epoch."""
  per_epoch = task['examples'] // task['batch']
  epochs = -(-steps // per_epoch)
  rows = [torch.randperm(task['examples'])[: per_epoch * task['batch']] for _ in range(epochs)]
  return torch.cat(rows).view(-1, task['batch'])[:steps]


def loop(task, nets, steps, group):
  """One net after the other."""
  for index in range(nets):
    net = make_net(task)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    x, y = data(task, nets)
    rows = None if task['kind'] == 'image_fitting' else order(task, steps)
    for step in range(steps):
      if rows is None:
        loss = functional.mse_loss(net(x), y[index])
      else:
        batch = rows[step]
        loss = functional.cross_entropy(net(x[batch]), y[batch])
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
  return loss.item()


def vmap(task, nets, steps, group):
  """Groups of nets under torch.func.vmap, their weights stacked."""
  for start in range(0, nets, group):
    count = min(group, nets - start)
    models = [make_net(task) for _ in range(count)]
    params, _ = torch.func.stack_module_state(models)
    params = {name: value.detach() for name, value in params.items()}
    optimizer = torch.optim.Adam(list(params.values()), 1e-3, fused=True)
    base = models[0]
    x, y = data(task, nets)

    def loss_fn(params, x, y, base=base):
      out = torch.func.functional_call(base, params, (x,))
      if task['kind'] == 'image_fitting':
        return functional.mse_loss(out, y)
      return functional.cross_entropy(out, y)

    fits_images = task['kind'] == 'image_fitting'
    gradient = torch.func.vmap(
      torch.func.grad_and_value(loss_fn), (0, None if fits_images else 0, 0)
    )
    if fits_images:
      target = y[start : start + count]
    else:
      rows = torch.stack([order(task, steps) for _ in range(count)], 1)
    for step in range(steps):
      if fits_images:
        gradients, losses = gradient(params, x, target)
      else:
        batch = rows[step]
        gradients, losses = gradient(params, x[batch], y[batch])
      for name, value in params.items():
        value.grad = gradients[name]
      optimizer.step()
  return losses.mean().item()


def main():
  """Answers requests until standard input ends."""
  for line in sys.stdin:
    request = json.loads(line)
    torch.manual_seed(0)
    torch.set_num_threads(request['threads'])
    task = Task(request['task'])
    data(task, request['nets'])
    method = {'loop': loop, 'vmap': vmap}[request['method']]
    wall, cpu = time.perf_counter(), time.process_time()
    loss = method(task, request['nets'], request['steps'], request['group'])
    answer = {
      'seconds': time.perf_counter() - wall,
      'cpu_seconds': time.process_time() - cpu,
      'loss': loss,
    }
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
  main()
