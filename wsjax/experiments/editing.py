"""Edits images through the weights of the networks that draw them."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wsjax import config as config_lib
from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.evaluation import equivariance
from wsjax.evaluation import metric as metric_lib
from wsjax.evaluation.report import model
from wsjax.experiments import base, sections
from wsjax.heads import prediction
from wsjax.layers import residual
from wsjax.models import model as model_lib
from wsjax.train import augment as augment_lib
from wsjax.train import objective as objective_lib
from wsjax.zoo import recipe as recipe_lib
from wsjax.zoo import train as train_lib
from wsjax.zoo.data import images
from wsjax.zoo.store import store

_SHOWN = 6  # Test networks in the figure.
_FITTED = 1024  # Training networks that the brightness baseline is fitted to.
_PERMUTED = 16  # Test networks whose neurons are permuted.

MSE = metric_lib.Metric(
  'mse', 'MSE', better='lower', format='.5f',
  doc='Mean squared error to the edited image, over pixels; a pixel is in [0, 1].',
)  # fmt: skip
PSNR = metric_lib.Metric(
  'psnr', 'PSNR', unit='dB', better='higher', format='.2f', heading='PSNR dB',
  doc='Peak signal-to-noise ratio, -10 log10 of the MSE of a network, averaged over networks.',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Objective(objective_lib.Objective):
  """Mean squared error between the images of edited networks and the edited images.

  Targets are made from the images that the unedited networks draw: `images.target`.

  Attributes:
    module: from weights to edited weights.
    architecture: of the networks.
    edit: key of `images.EDITS`.
    pixels: rows and columns of the images.
    augment: augmentation of the weights of a training batch, or None.
    microbatch: networks whose gradients are best taken at once on CPU.
  """

  val_draws: ClassVar[int] = 1

  module: residual.Residual
  architecture: model_lib.Model
  edit: str
  pixels: int
  augment: augment_lib.Augmentation | None = None
  microbatch: int = 16

  def init(self, key: jax.Array, example: typing.Params) -> typing.PyTree:
    """Initializes the module for the weights of one network."""
    return self.module.init(key, example)

  def loss(
    self, params: typing.PyTree, batch: typing.StackedParams, key: jax.Array, *, train: bool = True
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the mean squared error over a batch of weights, and the mean PSNR in dB."""
    if train and self.augment is not None:
      keys = jax.random.split(key, len(next(iter(batch.values()))))
      batch = jax.vmap(self.augment)(keys, batch)

    def error(example: typing.Params) -> jax.Array:
      before = images.draw(self.architecture, example, self.pixels)
      edited = self.module.apply(params, example)
      after = images.draw(self.architecture, edited, self.pixels)
      return jnp.mean((after - images.target(before, self.edit)) ** 2)

    errors = jax.vmap(error)(batch)
    return errors.mean(), {'psnr': jnp.mean(-10 * jnp.log10(errors))}


@dataclasses.dataclass(frozen=True)
class Edit(config_lib.Section):
  """The section `edit`: the name of an edit, and the pixels of a side of the images."""

  name: Annotated[str, config_lib.OneOf(tuple(images.EDITS))]
  pixels: config_lib.PositiveInt


@dataclasses.dataclass(frozen=True)
class Evaluate(sections.Evaluate):
  """The section `evaluate`; `num_direct` test networks are trained on their targets."""

  num_direct: config_lib.PositiveInt


class Editing(base.Experiment):
  """Trains an editor of weights; test networks are edited and their images compared.

  Baselines: no edit; one change of brightness for all networks, which reads no weights; and a
  training run per network on its target.
  """

  METRICS = (MSE, PSNR)
  SECTIONS: ClassVar[Mapping[str, type]] = {
    'edit': Edit,
    'augment': augment_lib.Augment,
    'evaluate': Evaluate,
  }
  PLUGINS: ClassVar[tuple[str, ...]] = ('editor',)

  @classmethod
  def check(cls, config: ml_collections.ConfigDict, counts: Mapping[str, int] | None) -> None:
    """Checks that every split has networks; see `Experiment.check`."""
    if counts is not None:
      base.check_splits(counts)

  def __init__(self, config: ml_collections.ConfigDict, zoo: store.Zoo):
    super().__init__(config, zoo)
    self.architecture = zoo.model
    if self.architecture.task != 'image_fitting':
      raise ValueError(
        'experiment is editing, which needs networks for image_fitting; those at '
        f'{zoo.path} are for {self.architecture.task}.'
      )
    splits = base.final_params(zoo)
    self.train, self.val, self.test = (splits[split] for split in base.SPLITS)
    editor = {**config.editor.to_dict(), 'architecture': self.architecture}
    self.module = residual.Residual(
      config_lib.build('editors', editor), prediction.parameter_scales(self.train)
    )

  def objective(self, seed: int) -> Objective:
    """Makes the image loss of the editor."""
    change = augment_lib.make(self.config.augment, self.architecture)
    edit = self.config.edit
    return Objective(self.module, self.architecture, edit.name, edit.pixels, change)

  def predict(self, params: typing.PyTree, seed: int) -> tuple[typing.StackedParams, Any]:
    """Edits the test networks; measures how the edit depends on the order of neurons."""
    run = jax.jit(jax.vmap(self.module.apply, in_axes=(None, 0)))
    edited = networks_lib.in_chunks(functools.partial(run, params), self.test)
    change = equivariance.of_edit(
      functools.partial(self.module.apply, params),
      self.architecture,
      {path: x[:_PERMUTED] for path, x in self.test.items()},
      pixels=self.config.edit.pixels,
      seed=self.config.seed,
    )
    return edited, change

  def report(self, predictions: list[tuple[typing.StackedParams, Any]]) -> model.Report:
    """Compares the edited images with their targets, beside the baselines."""
    config = self.config
    draw = functools.partial(networks_lib.in_chunks, jax.jit(jax.vmap(
      lambda params: images.draw(self.architecture, params, config.edit.pixels))))  # fmt: skip
    to_target = jax.jit(jax.vmap(lambda image: images.target(image, config.edit.name)))
    before = draw(self.test)
    target = np.asarray(to_target(before))
    some = draw({path: x[:_FITTED] for path, x in self.train.items()})
    # As an edit: the last kernel times the factor, and so for its bias. A method that does not
    # beat it has not read the weights.
    factor, shift = np.polyfit(some.ravel(), np.asarray(to_target(some)).ravel(), 1)
    num_direct = min(config.evaluate.num_direct, len(target))
    direct = train_lib.fit_images(
      self.architecture,
      target,
      recipe_lib.Recipe(**config.zoo.recipe.to_dict()),
      np.arange(num_direct),
      seed=config.seed,
      initial={path: x[:num_direct] for path, x in self.test.items()},
    ).params
    after, anew = [draw(edited) for edited, _ in predictions], draw(direct)
    name = config.editor.name

    def row(drawn: list[np.ndarray], kind: str) -> model.Row:
      return self.row(scores(np.stack([_errors(x, target) for x in drawn])), kind)

    rows = {
      f'edited by {name}': row(after, 'model'),
      'no edit': row([before], 'baseline'),
      'one factor and shift for all': row([factor * before + shift], 'baseline'),
      'trained on the target': row([anew], 'ceiling'),
    }
    mse = {method: MSE.text(row.value('mse')) for method, row in rows.items()}
    edited, *others = mse
    change = predictions[-1][1]
    shown = {'drawn': before, 'target': target, 'edited': after[0], 'trained': anew}
    shown = {title: x[: min(_SHOWN, num_direct)].round(3) for title, x in shown.items()}
    return model.Report(
      f'{name} edits weights to {config.edit.name} images with an MSE of {mse[edited]} '
      f'[{MSE.interval(rows[edited].stats["mse"])}]; '
      + ', '.join(f'{other}: {mse[other]}' for other in others)
      + '.',
      {
        'methods': model.Table(
          'Error to the edited image',
          self.METRICS,
          rows,
          f'The target of a test network is its own image, clipped to [0, 1] and edited '
          f'({config.edit.name}, 3 x 3 pixels). 95 % intervals resample test networks and training '
          'seeds. "One factor and shift for all" changes the output layers of all networks by '
          'the values that fit training networks best. "Trained on the target" is a training run '
          f'of {config.zoo.recipe.steps} steps per network, from its unedited weights.',
        )
      },
      {
        'images': model.Figure(
          'images',
          {'rows': [{'title': title, 'images': x} for title, x in shown.items()]},
          'Images before and after the edit',
          'The first test networks; first training seed.',
        )
      },
      notes=[
        'Permuting neurons before the edit instead of after it changes the edit by '
        f'{change["weights"]:.2g} of its size at most, and a pixel by {change["picture"]:.2g} at '
        f'most ({change["n"]} networks, random orders).'
      ],
      facts={
        'Editor': self.model_facts(config.editor),
        'Edit': {
          'edit': config.edit.name,
          'pixels': config.edit.pixels,
          'direct_steps': config.zoo.recipe.steps,
          'num_train': len(jax.tree.leaves(self.train)[0]),
          'num_test': len(before),
        },
        'Equivariance': change,
      },
    )


def scores(errors: np.ndarray) -> dict[str, np.ndarray]:
  """Computes the MSE and the PSNR of every training seed and network from errors [S, n].

  Raises:
    ValueError: if an error is not above 0, which has no PSNR.
  """
  if not np.all(errors > 0):
    raise ValueError(f'Errors must be above 0; the least is {errors.min()}.')
  return {'mse': errors, 'psnr': -10 * np.log10(errors)}


def _errors(drawn: np.ndarray, target: np.ndarray) -> np.ndarray:
  """[n] mean squared error of the first n images, as drawn: not clipped."""
  difference = (drawn - target[: len(drawn)]).astype(np.float64)
  return np.mean(difference**2, axis=(1, 2, 3))
