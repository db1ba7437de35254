"""Writes the files of this folder; run by hand in an environment with PyTorch, not by tests.

  python make.py

Each NAME.pt is a state dict, and NAME.npz the inputs and outputs of its network, in PyTorch's
layout.
"""

import pathlib

import numpy as np
import torch  # noqa: TID251
from torch import nn  # noqa: TID251

HERE = pathlib.Path(__file__).parent


class Wrapped(nn.Module):
  """Layers with names of their own, and square matrices."""

  def __init__(self):
    super().__init__()
    self.fc1, self.fc2, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

  def forward(self, x):
    return self.head(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))


NETWORKS = {
  'mlp': (Wrapped, (8,)),
  'cnn': (
    lambda: nn.Sequential(
      nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
      nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
      nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 5),
    ),
    (1, 6, 6),
  ),
  'plain_cnn': (
    lambda: nn.Sequential(
      nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
      nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3),
    ),
    (1, 6, 6),
  ),
  'transposed': (
    lambda: nn.Sequential(nn.ConvTranspose2d(2, 2, 3), nn.ReLU(), nn.ConvTranspose2d(2, 1, 2)),
    (2, 4, 4),
  ),
}  # fmt: skip


def main():
  torch.manual_seed(0)
  for name, (make, shape) in NETWORKS.items():
    net = make()
    x = torch.randn(5, *shape)
    net(x)  # Moves the statistics of batch norms.
    net.eval()
    torch.save(net.state_dict(), HERE / f'{name}.pt')
    np.savez(HERE / f'{name}.npz', inputs=x.numpy(), outputs=net(x).detach().numpy())
  half = Wrapped().to(torch.bfloat16)
  values = {'model': half.state_dict(), 'epoch': 3, 'optimizer': {'state': {}, 'groups': [1.0]}}
  torch.save(values, HERE / 'bfloat16.pt')
  bits = {k: v.view(torch.int16).numpy() for k, v in half.state_dict().items()}
  np.savez(HERE / 'bfloat16.npz', **bits)
  import peft  # noqa: TID251

  base = nn.ModuleDict({'up': nn.Linear(6, 4), 'down': nn.Linear(4, 6)})
  base.forward = lambda x: base['down'](torch.tanh(base['up'](x)))
  config = peft.LoraConfig(
    r=2, lora_alpha=6, target_modules=['up', 'down'], init_lora_weights=False
  )
  adapted = peft.get_peft_model(base, config)
  adapted.save_pretrained(HERE / 'adapter')
  (HERE / 'adapter/README.md').unlink()
  deltas = {}
  for name, module in adapted.named_modules():
    if hasattr(module, 'get_delta_weight'):
      deltas[name] = module.get_delta_weight('default').detach().numpy()
  np.savez(HERE / 'adapter.npz', **deltas)


if __name__ == '__main__':
  main()
