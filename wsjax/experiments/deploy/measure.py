"""Latency and peak memory of one exported file, in a process of its own; run as a script.

  python measure.py FILE onnx|stablehlo INPUTS.npy SECONDS

One thread runs one input at a time. Memory is what the process needs at its peak above the runtime
itself, which is loaded before. Prints JSON.
"""

import json
import pathlib
import resource
import sys
import time

_BLOCKS = 5


def main(path: str, format: str, inputs: str, seconds: str) -> None:
  """Loads the file, runs it, and prints 'microseconds' and 'peak_bytes'."""
  import numpy as np

  one = np.load(inputs, allow_pickle=False)[:1]
  if format == 'onnx':
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    before = _memory('VmRSS')
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    run = lambda: session.run(None, {name: one})  # noqa: E731
  else:
    import jax
    from jax import export

    one = jax.device_put(one)
    jax.block_until_ready(jax.jit(lambda x: x + 1)(one))  # The compiler is loaded.
    before = _memory('VmRSS')
    function = jax.jit(export.deserialize(bytearray(pathlib.Path(path).read_bytes())).call)
    run = lambda: jax.block_until_ready(function(one))  # noqa: E731
  for _ in range(10):
    run()
  medians = []
  for _ in range(_BLOCKS):  # The machine may be shared: the quietest block counts.
    times: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < float(seconds) / _BLOCKS or len(times) < 10:
      begin = time.perf_counter()
      run()
      times.append(time.perf_counter() - begin)
    medians.append(float(np.median(times)))
  found = {'microseconds': 1e6 * min(medians), 'peak_bytes': max(0, _memory('VmHWM') - before)}
  sys.stdout.write(json.dumps(found))


def _memory(name: str) -> int:
  """Bytes of memory of this process, VmRSS, or at its peak, VmHWM; of a child alone.

  Of `getrusage` the peak would be at least what the parent had when it started this process.
  """
  try:
    text = pathlib.Path('/proc/self/status').read_text()
  except OSError:  # Not on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return int(text.partition(f'{name}:')[2].split()[0]) * 1024


if __name__ == '__main__':
  main(*sys.argv[1:])
