"""Trains a zoo, fits a generator and samples; prints digests of all three.

Run as `python -m tests.devices.pipeline_worker WORKDIR`; see worker.py.
"""

import json
import pathlib
import sys

import numpy as np

from configs import digits_flow
from wsjax import distributed
from wsjax.experiments import base, generation


def main() -> None:
  """Does what the command line says."""
  distributed.initialize()
  workdir = pathlib.Path(sys.argv[1])
  config = digits_flow.get_config('smoke')
  zoo = base.open_zoo(config, workdir, progress=False)
  experiment = generation.Generation(config, zoo)
  experiment.workdir = workdir
  params, _ = experiment.fit(0)
  networks = experiment.draw(params, 8, 0)
  result = {
    'zoo': zoo.content_digest,
    'networks': {
      path: np.asarray(value).ravel()[:100].tolist() for path, value in networks.items()
    },
    'writes': distributed.is_writer(),
  }
  sys.stdout.write(json.dumps(result) + '\n')


if __name__ == '__main__':
  main()
