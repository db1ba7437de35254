"""What each measure of the report is called and means."""

from collections.abc import Mapping

from wsjax.evaluation.report import audit_measures

# metric -> (label, unit, better, description).
_TABLE = {
  'accuracy': (
    'accuracy',
    'share',
    'higher',
    'Test accuracy, mean over networks, none selected. Interval over networks and test items.',
  ),
  'accuracy_iqm': (
    'accuracy, interquartile mean',
    'share',
    'higher',
    'Mean accuracy of the middle half of the networks.',
  ),
  'accuracy_worst_decile': (
    'accuracy, worst decile',
    'share',
    'higher',
    'Mean accuracy of the worst tenth of the networks.',
  ),
  'nonfunctional_rate': (
    'non-functional',
    'share',
    'lower',
    'Networks below chance plus three standard errors; chance is the share of the largest class.',
  ),
  'nll': ('negative log likelihood', 'nats', 'lower', 'Mean over test items and networks.'),
  'brier': (
    'Brier score',
    '',
    'lower',
    'Squared distance of the class probabilities to the truth, 0 to 2.',
  ),
  'ece': (
    'calibration error',
    'share',
    'lower',
    'Expected calibration error, 15 bins of equal width; biased upwards, so '
    'read it beside its chance level.',
  ),
  'ece_null': (
    'calibration error by chance',
    'share',
    'none',
    'The same for a perfectly calibrated network with these confidences.',
  ),
  'novelty': (
    'distance to nearest training network',
    'tau',
    'higher',
    'Median quotient distance, in units of the leave-one-out median of the training zoo.',
  ),
  'copy_rate': ('copies', 'share', 'lower', 'Networks nearer than 0.1 tau to a training network.'),
  'max_iou': (
    'largest error-IoU',
    '',
    'lower',
    'Overlap of the test errors with those of the most similar training '
    'network, mean. It falls with accuracy: compare at equal accuracy.',
  ),
  'max_iou_at_bar': (
    'largest error-IoU at the bar',
    '',
    'lower',
    'The same of the networks alone whose accuracy is at least the 5th '
    'percentile of the zoo; n says how many they are.',
  ),
  'gate_strict': (
    'strict gate G',
    'share',
    'higher',
    'Accuracy at least the 5th percentile of the zoo, and distance at least tau.',
  ),
  'gate_half': (
    'half gate',
    'share',
    'higher',
    'Accuracy at least the 5th percentile of the zoo, and distance at least tau / 2.',
  ),
  'gate_behaviour': (
    'behaviour gate',
    'share',
    'higher',
    'Accuracy at least the 5th percentile of the zoo, and largest error-IoU '
    'at most the leave-one-out mean of the zoo.',
  ),
  'rms_ratio': (
    'dispersion ratio',
    '',
    'none',
    'Spread of the canonical weights over that of the zoo: 0 is a collapse to '
    'the mean, 1 is the zoo.',
  ),
  'norm_ratio': (
    'weight size ratio',
    '',
    'none',
    'Root mean square of the canonical weights over that of the zoo.',
  ),
  'disagreement': (
    'disagreement over error',
    '',
    'higher',
    'Share of items two networks of the arm call differently, divided by '
    'their mean error rate: 0 for copies of one network.',
  ),
  'break_even': (
    'break-even',
    'networks',
    'lower',
    'Networks as accurate as the zoo after which training and drawing from the '
    'generator took no longer than as many fresh runs; networks drawn in vain '
    'count.',
  ),
  'break_even_with_zoo': (
    'break-even with the zoo',
    'networks',
    'lower',
    'The same if the zoo had to be trained for it.',
  ),
  'seconds_per_net': (
    'seconds per network',
    's',
    'lower',
    'Wall time to make the networks of the arm, divided by their number.',
  ),
  'bytes_per_net': (
    'bytes per network',
    'bytes',
    'lower',
    'What must be kept to make the networks (generator, or training networks), '
    'divided by the number made here.',
  ),
}


def described(table: Mapping[str, tuple[str, str, str, str]]) -> dict[str, dict[str, str]]:
  """(label, unit, better, description) of every metric, each under its name."""
  keys = ('label', 'unit', 'better', 'description')
  return {metric: dict(zip(keys, words, strict=True)) for metric, words in table.items()}


METRICS = described({**_TABLE, **audit_measures.TABLE})
