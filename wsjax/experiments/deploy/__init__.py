"""Networks for a device: precision against bytes, latency and accuracy, of files that are run.

Every network of the zoo is rounded to every precision, written in every format, and evaluated by
running the file. Beside it stand rounding that does not look at inputs, and smaller networks in
float32, which have been trained as the others.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import typing
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.experiments.deploy import exported, rounding
from wsjax.models import model as model_lib
from wsjax.train import loop
from wsjax.train import objective as objective_lib
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

METRICS = (
  metric_lib.Metric(
    'accuracy', 'accuracy', better='higher', format='.2%',
    doc='Share of right test images, of the file as it is run.',
  ),
  metric_lib.Metric(
    'psnr', 'PSNR', unit='dB', better='higher', format='.2f',
    doc='Peak signal-to-noise ratio of the drawn image to the one that the network was fitted to.',
  ),
  metric_lib.Metric(
    'loss', 'loss of accuracy', better='lower', format='.2%', heading='lost',
    doc='Accuracy of the float32 network minus that of the file, paired by network.',
  ),
  metric_lib.Metric(
    'psnr_loss', 'loss of PSNR', unit='dB', better='lower', format='.2f', heading='lost',
    doc='PSNR of the float32 network minus that of the file, paired by network.',
  ),
  metric_lib.Metric(
    'agreement', 'equal classes', better='higher', format='.2%', heading='equal',
    doc='Share of test images that get the class that the float32 network gives them in JAX.',
  ),
  metric_lib.Metric(
    'difference', 'difference', better='lower', format='.1e',
    doc='Largest difference of an output from that of the float32 network in JAX.',
  ),
  metric_lib.Metric(
    'size', 'size', unit='bytes', better='lower', format=',.0f', heading='bytes',
    doc='Of the file, with scales, biases, names and the graph.',
  ),
  metric_lib.Metric(
    'share', 'share of the float32 file', better='lower', format='.1%', heading='of float32',
    doc='Bytes over those of the float32 network in the same format.',
  ),
  metric_lib.Metric(
    'microseconds', 'latency', unit='us', better='lower', format='.1f', heading='us',
    doc='Median of one input on one thread, in a process of its own, in the quietest of five '
    'blocks; of the first network.',
  ),
  metric_lib.Metric(
    'peak_megabytes', 'peak memory', unit='MB', better='lower', format='.1f', heading='peak MB',
    doc='Memory of that process at its peak, above what the runtime has before it reads the file.',
  ),
)  # fmt: skip
_NAMES = {'onnx': 'ONNX', 'stablehlo': 'StableHLO', 'safetensors': 'packed'}
_AT_LOAD = ', float32 at load'


@dataclasses.dataclass(frozen=True)
class Section(config_lib.Section):
  """The section `deploy`.

  Attributes:
    formats: of the files.
    precisions: of the weights, beside float32.
    num_images: training images, without labels, at which layers are to change least.
    smaller: widths of smaller dense networks, trained as those of the zoo.
    seconds: of measuring each file; 0 measures no latency and no memory.
  """

  formats: tuple[Annotated[str, config_lib.OneOf(exported.FORMATS)], ...] = tuple(exported.FORMATS)
  precisions: tuple[Annotated[str, config_lib.OneOf(rounding.PRECISIONS)], ...] = (
    rounding.PRECISIONS[1:]
  )
  num_images: config_lib.PositiveInt = 1_024
  smaller: tuple[tuple[config_lib.PositiveInt, ...], ...] = ()
  seconds: config_lib.NonNegativeFloat = 1.0

  def __post_init__(self):
    super().__post_init__()
    if not self.formats or 'float32' in self.precisions:
      raise ValueError(
        f'deploy.formats is {self.formats} and deploy.precisions {self.precisions}; allowed: at '
        'least one format, and precisions without float32, which is always there.'
      )


class Deploy(base.Experiment):
  """Rounds, writes, runs and measures networks; only smaller networks are trained."""

  METRICS = METRICS
  SECTIONS: ClassVar[Mapping[str, type]] = {'deploy': Section, 'evaluate': sections.Evaluate}

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that there is data, and a smaller network where one is named."""
    if 'dataset' not in config.zoo:
      raise ValueError('zoo.dataset is missing; networks are evaluated on it.')
    smaller = config.get('deploy', {}).get('smaller', ())
    if smaller and config.zoo.get('architecture', {}).get('name') != 'mlp':
      raise ValueError('deploy.smaller has widths of dense networks; zoo.architecture is no mlp.')

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.section = config_lib.read(Section, 'deploy', config.deploy)
    self.model = zoo.model
    self.data = datasets.load(**config.zoo.dataset)
    self.rows = zoo.select(diverged=False)
    self.nets = [dict(net) for net in zoo.networks().host()]
    self.draws = self.model.task == 'image_fitting'
    self.sizes: dict[tuple[str, int], int] = {}
    self.train = {'x': self._calibration()}

  def objective(self, seed: int) -> objective_lib.Objective:
    """Raises, because `fit` trains nothing."""
    raise NotImplementedError

  def fit(self, seed: int, *, trains: bool = True) -> tuple[typing.PyTree, loop.History]:
    """Trains nothing: rounding learns from no other network."""
    del seed, trains
    return {}, {}

  def predict(self, params: typing.PyTree, seed: int) -> dict[str, dict[str, Any]]:
    """Measures all files: row -> kind, and metric -> [n] numbers of the networks."""
    del params
    found: dict[str, dict[str, Any]] = {}
    inputs = self._calibration()
    made = {precision: self._rounded(precision, inputs) for precision in self.section.precisions}
    for format in self.section.formats:
      name = _NAMES[format]
      found[f'{name} float32'] = self._files(format, self.nets, 'reference')
      for precision, rounded in made.items():
        found[f'{name} {precision}'] = self._files(format, rounded, 'model')
        if format == 'onnx':
          more = self._files(format, rounded, 'model', exact=True)
          found[f'{name} {precision}{_AT_LOAD}'] = more
    # The same bytes as above, so one format is enough.
    first = self.section.formats[0]
    for precision in self.section.precisions:
      row = f'{_NAMES[first]} {precision}, each weight by itself'
      rounded = self._rounded(precision, None)
      found[row] = self._files(first, rounded, 'baseline', exact=True, measures=False)
      if rounding.keep_of(self.model):
        rounded = self._rounded(precision, inputs, keep=())
        row = f'{_NAMES[first]} {precision}, first layer too'
        found[row] = self._files(first, rounded, 'control', exact=True, measures=False)
    for widths in self.section.smaller:
      own, nets = self._smaller(widths, seed)
      row = f'{_NAMES[first]} float32, {"-".join(map(str, widths))}'
      found[row] = self._files(first, nets, 'baseline', own=own)
    return found

  def report(self, predictions: list[dict[str, dict[str, Any]]]) -> model.Report:
    """Compares all files, and draws the front of size, latency and accuracy."""
    (found,) = predictions
    rows = {}
    for name, one in found.items():
      stats = {key: np.asarray(x, float)[None] for key, x in one.items() if key != 'kind'}
      rows[name] = self.row(stats, one['kind'])
      # Nothing is trained per seed, and latency is of one network.
      rows[name].seeds, rows[name].n = [], len(one['size'])
    title = 'Files of the networks'
    key = 'psnr' if self.draws else 'accuracy'
    summary = (key, 'psnr_loss' if self.draws else 'loss', 'size', 'share', 'microseconds')
    table = model.Table(title, METRICS, rows, summary=summary)
    figures = {}
    axes = [
      name for name in ('size', 'microseconds') if any(name in r.stats for r in rows.values())
    ]
    figures['pareto'] = model.Figure(
      'pareto', {'table': 'files', 'x': axes, 'y': key}, 'Accuracy against bytes and latency',
      'A line joins the files that no other one beats in both.',
    )  # fmt: skip
    metrics = {metric.name: metric for metric in METRICS}
    lost = summary[1]
    text = [
      f'{name} loses {metrics[lost].with_unit(row.value(lost))} at '
      f'{metrics["share"].with_unit(row.value("share"))} of the bytes'
      for name, row in rows.items()
      if row.kind == 'model' and name.startswith(_NAMES[self.section.formats[0]])
      and _AT_LOAD not in name
    ]  # fmt: skip
    return model.Report(
      f'{"; ".join(text)}.',
      {'files': table},
      figures,
      facts={'Deploy': dataclasses.asdict(self.section)},
    )

  def _calibration(self) -> np.ndarray:
    """Inputs without labels."""
    if self.draws:
      return self._grid()
    return exported.shaped(self.model, self.data.train_x[: self.section.num_images])

  def _test(self, own: model_lib.Model) -> np.ndarray:
    return self._grid() if self.draws else exported.shaped(own, self.data.test_x)

  @functools.cached_property
  def before(self) -> list[np.ndarray]:
    """Outputs of every float32 network in JAX."""
    return [np.asarray(self.model.apply(net, self._test(self.model))) for net in self.nets]

  def _grid(self) -> np.ndarray:
    height, width = self.data.train_x.shape[1:3]
    return train_lib.coordinates(height, width)

  def _rounded(self, precision: str, data: Any, **options: Any) -> list[dict[str, Any]]:
    return [rounding.quantize(self.model, net, precision, data, **options) for net in self.nets]

  def _files(
    self,
    format: str,
    nets: list[dict[str, Any]],
    kind: str,
    *,
    own: model_lib.Model | None = None,
    exact: bool = False,
    measures: bool = True,
  ) -> dict[str, Any]:
    """Writes each network to a file, runs it on the test data, and measures the first file."""
    other, own = own, own or self.model
    test = self._test(own)
    made: dict[str, Any] = {'kind': kind}
    with tempfile.TemporaryDirectory() as folder:
      for i, net in enumerate(nets):
        path = pathlib.Path(folder) / f'{i}{exported.FORMATS[format]}'
        size = exported.write(path, format, own, net, exact=exact)
        outputs = exported.run(path, format, own, test)
        exported.verify(path, format, own, net, test[:256], outputs[:256])
        numbers = {'size': size} | self._scores(i, outputs)
        if other is None:
          numbers |= self._changes(i, outputs, self.before[i])
          plain = self.sizes.setdefault((format, i), size)  # The first row is float32.
          numbers['share'] = size / plain
        for key, value in numbers.items():
          made.setdefault(key, []).append(value)
        if i == 0 and measures and self.section.seconds > 0 and format in exported.TIMED:
          seconds = self.section.seconds
          measured = exported.measure(path, format, own, test, seconds=seconds)
          made['microseconds'] = [measured['microseconds']]
          made['peak_megabytes'] = [measured['peak_bytes'] / 1e6]
    return made

  def _scores(self, i: int, outputs: np.ndarray) -> dict[str, float]:
    if not self.draws:
      return {'accuracy': float((outputs.argmax(-1) == self.data.test_y).mean())}
    return {'psnr': self._psnr(i, outputs)}

  def _psnr(self, i: int, outputs: np.ndarray) -> float:
    """Of network i, in dB."""
    index = int(self.zoo.records[self.rows[i]]['run_id'].rpartition('/')[2])
    image = self.data.train_x[index].reshape(outputs.shape)
    return -10 * float(np.log10(np.maximum(np.mean((outputs - image) ** 2), 1e-12)))

  def _changes(self, i: int, outputs: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """Of network i, from the float32 network."""
    made = {'difference': float(np.abs(outputs - before).max())}
    if self.draws:
      return made | {'psnr_loss': self._psnr(i, before) - self._psnr(i, outputs)}
    right = [(x.argmax(-1) == self.data.test_y).mean() for x in (before, outputs)]
    same = float((outputs.argmax(-1) == before.argmax(-1)).mean())
    return made | {'loss': float(right[0] - right[1]), 'agreement': same}

  def _smaller(
    self, widths: tuple[int, ...], seed: int
  ) -> tuple[model_lib.Model, list[dict[str, Any]]]:
    """Trains smaller networks as those of the zoo."""
    own: Any = dataclasses.replace(self.model, widths=widths)  # type: ignore[type-var]
    recipe = config_lib.read(recipe_lib.Recipe, 'zoo.recipe', self.config.zoo.recipe)
    indices = np.arange(len(self.nets))
    trained = train_lib.train_networks(own, self.data, recipe, indices, seed=seed)
    params = jax.device_get(trained.params)
    return own, [{path: x[i] for path, x in params.items()} for i in indices]
