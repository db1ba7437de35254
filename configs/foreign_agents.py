"""Read the algorithm and the task of published agents from their weights.

  wsjax zoo import rl_agents --from DIR --out runs/zoos/rl_agents
  wsjax run --config configs/foreign_agents.py --workdir runs/agents
  wsjax zoo import es_policies --from DIR --out runs/zoos/es_policies
  wsjax run --config configs/foreign_agents.py:question=task --workdir runs/es

Zoos of 43 and 46 networks of many architectures, read by one graph encoder with cross-validation.
Agents of one environment are in one fold.
Options: `question`, which names a set of networks and a target; `encoder`; `weights`, where
'noise' replaces the weights, so that only the architecture can be read; and `smoke`, which trains
two architectures and runs every stage in seconds.

Hardware: 2 CPU cores, shared.
Time: with 3 training seeds 0.3 to 0.7 min for evolved policies, 0.7 min (statistics) and 3 min
(graph_net) for 24 agents, 2 min (statistics) for 43; 6 min for one seed of graph_net on 43.
Measured: results/foreign_agents.json.
"""

from ml_collections import config_dict

from configs import common
from wsjax import config as config_lib

# Environments that both A2C and PPO have an agent for.
PAIRED = (
  'Acrobot-v1', 'Ant-v3', 'BipedalWalker-v3', 'BipedalWalkerHardcore-v3',
  'CartPole-v1', 'LunarLander-v2', 'LunarLanderContinuous-v2',
  'MountainCar-v0', 'MountainCarContinuous-v0', 'Pendulum-v1', 'Swimmer-v3',
  'Walker2d-v3',
)  # fmt: skip
# Question -> (family of the zoo, what is predicted and from which networks).
QUESTIONS = {
  'paired': (
    'rl_agents',
    dict(
      target='algorithm', folds=4, group='task',
      only=dict(algorithm=('a2c', 'ppo'), task=PAIRED),
    ),
  ),
  'a2c_ppo': (
    'rl_agents',
    dict(
      target='algorithm', folds=5, group='task',
      only=dict(algorithm=('a2c', 'ppo')),
    ),
  ),
  'algorithm': (
    'rl_agents',
    dict(target='algorithm', folds=5, group='task', only=dict()),
  ),
  'task': (
    'es_policies',
    dict(
      target='task', folds=7, group='', only=dict(task=('biped', 'bipedhard'))
    ),
  ),
  'score': (
    'es_policies',
    dict(target='score', folds=4, group='', only=dict(task=('bipedhard',))),
  ),
}  # fmt: skip
ENCODERS = {
  'graph_net': dict(
    name='graph_net', width=32, edge_width=16, depth=2, embedding=32,
  ),
  'graph_transformer': dict(
    name='graph_transformer', width=32, edge_width=16, depth=2, embedding=32,
    num_heads=4,
  ),
  'statistics': dict(name='graph_statistics', hidden=(64,), embedding=32),
}  # fmt: skip


def get_config(arg: str = '') -> config_dict.ConfigDict:
  """An encoder that reads a property of networks that others have trained."""
  arg = config_lib.parse_arg(
    arg, smoke=False, question=tuple(QUESTIONS), encoder=tuple(ENCODERS), weights=('real', 'noise')
  )
  family, question = QUESTIONS[arg['question']]
  c = common.start(
    f'{family}_{arg["question"]}_{arg["encoder"]}_{arg["weights"]}', 'cross_validation'
  )
  c.zoo = dict(path=f'runs/zoos/{family}', family=family)
  c.symmetry = dict(canonicalize='none', restarts=3)
  c.encoder = ENCODERS[arg['encoder']]
  c.property = dict(num_train=0, weights=arg['weights'], head=dict(), **question)
  c.augment = dict(symmetry=False, noise=0.0, dropout=0.0)
  c.pretrain = dict(objective='none', steps=0, noise=0.05, temperature=0.1, ratio=0.5)
  c.train = common.train(
    seeds=(0, 1, 2), steps=150, batch_size=16, learning_rate=2e-3, warmup_steps=10, clip_norm=0.0,
    ema_decay=0.0, inner_steps=75, checkpoint_every_steps=150,
  )  # fmt: skip
  c.evaluate = dict(num_bootstrap=1_000)
  if arg['smoke']:  # Two architectures that are trained here: no outside data.
    c.zoo = dict(
      path='',
      architecture=dict(name='mlp', widths=(64, 6, 10), activation=('tanh', 'relu')),
      dataset=dict(name='digits', val_fraction=0.25),
      recipe=dict(optimizer=('adam', 'sgd'), learning_rate=1e-2, steps=5),
      splits=dict(train=8, val=2, test=2, holdout_audit=2),
      chunk_size=14,
    )
    c.property.target, c.property.group, c.property.folds = 'optimizer', '', 2
    c.property.only = dict(optimizer=('adam', 'sgd'))
    c.train.steps, c.train.inner_steps, c.train.warmup_steps = 4, 2, 2
    c.train.batch_size, c.train.checkpoint_every_steps = 4, 2
    c.train.seeds = (0, 1)
    c.evaluate.num_bootstrap = 50
  return c.lock()
