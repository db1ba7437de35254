"""A generator that passes the gate, beside flow matching and every baseline.

  wsjax run --config configs/demo.py --workdir runs/demo

512 classifiers of digits are trained. A hypernetwork learns from their weights and from the task,
flow matching only from their weights; samples of both are evaluated beside every baseline.
Options: `smoke`, which runs every stage in seconds.

Hardware: 2 CPU cores.
Time: 84 s with the installation, packages cached: training of the hypernetwork 14 s.
Measured: results/hypernetwork.json and results/digits_flow.json, with more seeds.
"""

from ml_collections import config_dict

from configs import digits_flow, hypernetwork


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """The hypernetwork of configs/hypernetwork.py, and the flow of configs/digits_flow.py."""
  c, flow = hypernetwork.get_config(arg), digits_flow.get_config(arg)
  with c.unlocked():
    c.name = 'demo'
    c.train.seeds = (0,)
    c.evaluate.metrics = ()
    c.rivals = dict(
      flow_matching=dict(
        normalize=flow.normalize,
        codec=flow.codec,
        generator=flow.generator,
        train=flow.train,
        strategy=dict(distribution=1.0, functional=0.0),
      )
    )
  return c.lock()
