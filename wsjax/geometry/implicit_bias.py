"""What training prefers among all networks that fit: small norms, low ranks, wide margins."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.ensemble
import sklearn.model_selection
from jaxtyping import Array, Float

from wsjax import networks, typing
from wsjax.models import model as model_lib
from wsjax.tokens import graph as graph_lib


def measures(
  model: model_lib.Model,
  params: typing.StackedParams,
  inputs: Float[typing.Array, 'n ...'] | None = None,
  labels: typing.Array | None = None,
) -> dict[str, Float[np.ndarray, ' networks']]:
  """Norms, ranks, spectra and margins of networks.

  A kernel counts as the matrix [everything else, outputs]: [h * w * in, out] of a convolution.
  Products over matrices are given as logarithms. Reordering of units changes nothing; the path norm
  does not change under rescaling either.

  Args:
    model: of the networks; compiled once for each.
    params: path -> [networks, ...].
    inputs: that margins are measured on, with their labels; None leaves margins out.
    labels: classes [n].

  Returns:
    'norm' of all weights; 'spectral norms' and 'Frobenius norms', logarithms of their products;
    'stable rank' (squared Frobenius over squared spectral norm), 'effective rank' (exponential of
    the entropy of the singular values) and 'tail exponent' (see `tail_exponent`), means over
    matrices; 'kurtosis' of weights in units of their matrix's deviation, 0 for a Gaussian;
    'sparsity', 0 if all weights are equal in size and 1 if all but one are 0; 'path norm', a
    logarithm, of ReLU networks (an average over pixels counts as it is, not squared); 'margin' and
    'margin 10 %', the median and the lower decile over the product of the spectral norms.

  Raises:
    ValueError: if the parameters do not fit the model, it has no matrix, or a weight belongs to
      more than two groups.

  Source: Neyshabur et al. 2015, arXiv:1503.00036 (path norm); Roy and Vetterli 2007, EUSIPCO
    (effective rank); Bartlett et al. 2017, arXiv:1706.08498 (normalized margin); Rudelson and
    Vershynin 2007, JACM 54:21 (stable rank); Hoyer 2004, JMLR 5:1457, section 3.1 (sparsity).
  """
  model.spec.check(params, stacked=True)
  if not graph_lib.wiring(model.spec).edge_blocks:
    raise ValueError(f'{model.name} has no weight matrix: no rank or norm of one is defined.')
  data = None if inputs is None else (jnp.asarray(inputs), jnp.asarray(labels))
  chunk = min(networks.length(params), 64)
  return networks.in_chunks(functools.partial(_measured, model, data), params, chunk)


@jax.jit(static_argnums=0)
def _measured(
  model: model_lib.Model, data: tuple[Array, Array] | None, params: typing.StackedParams
) -> dict[str, Array]:
  return jax.vmap(functools.partial(_measures, model, data))(params)


def _measures(
  model: model_lib.Model, data: tuple[Array, Array] | None, params: typing.Params
) -> dict[str, Array]:
  matrices = []
  for block in graph_lib.wiring(model.spec).edge_blocks:
    value = jnp.moveaxis(params[block.leaf.path], block.axes[1], -1)
    matrices.append(value.reshape(-1, value.shape[-1]))
  singular = [jnp.linalg.svd(matrix, compute_uv=False) for matrix in matrices]
  weights = jnp.concatenate([matrix.ravel() / jnp.std(matrix) for matrix in matrices])
  sizes = jnp.abs(jnp.concatenate([matrix.ravel() for matrix in matrices]))
  spectral = sum(jnp.log(values[0]) for values in singular)
  root = np.sqrt(sizes.size)

  def rank(values: jax.Array) -> jax.Array:
    share = values / jnp.sum(values)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share)))

  found = {
    'norm': jnp.sqrt(sum(jnp.sum(x**2) for x in params.values())),
    'spectral norms': spectral,
    'Frobenius norms': sum(jnp.log(jnp.sum(values**2)) / 2 for values in singular),
    'stable rank': sum(jnp.sum(v**2) / v[0] ** 2 for v in singular) / len(singular),
    'effective rank': sum(rank(values) for values in singular) / len(singular),
    'kurtosis': jnp.mean((weights - weights.mean()) ** 4) / jnp.var(weights) ** 2 - 3,
    'sparsity': (root - jnp.sum(sizes) / jnp.sqrt(jnp.sum(sizes**2))) / max(root - 1, 1e-12),
  }
  if tails := [tail_exponent(values) for values in singular if len(values) > 3]:
    found['tail exponent'] = sum(tails) / len(tails)
  if model.activation == 'relu':
    squares = {path: value**2 for path, value in params.items()}
    ones = jnp.ones((1, *model.input_shape), jnp.float32)
    found['path norm'] = jnp.log(jnp.sum(model.apply(squares, ones))) / 2
  if data is not None:
    inputs, labels = data
    logits = model.apply(params, inputs)
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    others = jnp.max(jnp.where(is_label, -jnp.inf, logits), axis=-1)
    margins = jnp.sum(jnp.where(is_label, logits, 0), axis=-1) - others
    low, middle = jnp.quantile(margins, jnp.array([0.1, 0.5])) / jnp.exp(spectral)
    found |= {'margin': middle, 'margin 10 %': low}
  return found


def tail_exponent(singular: Float[Array, ' n']) -> Float[Array, '']:
  """Exponent of the power law that the largest half of the squared singular values would follow.

  Density ~ value^-exponent. Small is a heavy tail; equal singular values give 1e6, the largest.

  Args:
    singular: values in decreasing order, at least 4.

  Source: Martin and Mahoney 2021, JMLR 22:165, arXiv:1810.01075 (spectra of weights); Hill 1975,
    Annals of Statistics 3:1163 (the estimator, 1 + k / sum of logarithms over the k-th next).
  """
  half = len(singular) // 2
  logs = 2 * jnp.log(jnp.maximum(singular[: half + 1], 1e-6 * singular[0]))  # Ranks may be low.
  return 1 + 1 / jnp.maximum(jnp.mean(logs[:half] - logs[half]), 1e-6)


def told(
  features: Float[np.ndarray, 'n d'],
  classes: np.ndarray,
  *,
  folds: int = 5,
  num_trees: int = 300,
  seed: int = 0,
) -> np.ndarray:
  """Class of each network as a random forest tells it that was fitted to the others, in folds.

  Raises:
    ValueError: if a class has fewer networks than there are folds.

  Source: Breiman 2001, Machine Learning 45:5.
  """
  smallest = np.unique(classes, return_counts=True)[1].min()
  if smallest < folds:
    raise ValueError(f'A class has {smallest} networks; {folds} folds need as many.')
  forest = sklearn.ensemble.RandomForestClassifier(num_trees, random_state=seed, n_jobs=1)
  split = sklearn.model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
  return sklearn.model_selection.cross_val_predict(forest, features, classes, cv=split)
