"""A metric declares and computes itself."""

import pytest

from wsjax.evaluation import metric as metric_lib


@metric_lib.metric('churn', '.1%', better='lower', group='Stability')
def churn(method, reference):
  """Share of items
  that two networks call differently."""
  return {'value': method - reference, 'low': 0.1, 'high': 0.3, 'n': 4, 'method': 'bootstrap'}


def test_the_decorator_makes_one_object_that_declares_and_computes():
  assert churn.doc == 'Share of items that two networks call differently.'
  stat = churn(0.5, 0.25)
  assert (churn.text(stat['value']), churn.interval(stat)) == ('25.0', '10.0–30.0')
  assert churn.column == 'churn %'
  assert churn.declaration()['group'] == 'Stability'


def test_a_missing_number_is_a_dash():
  below = {'value': 0.0, 'low': -0.061, 'high': -0.029, 'n': 3, 'method': 'x'}
  assert churn.interval(below) == '\N{MINUS SIGN}6.1 to \N{MINUS SIGN}2.9'
  assert churn.text(None) == churn.text(float('nan')) == '–'
  assert churn.interval({'value': 1.0, 'low': None, 'high': None}) == ''
  assert churn.interval(None) == ''


@pytest.mark.parametrize(
  ('field', 'value'), [('name', 'two words'), ('better', 'more'), ('format', '.2q')]
)
def test_a_wrong_field_is_named(field, value):
  with pytest.raises(ValueError, match=field):
    metric_lib.Metric(**{'name': 'churn', 'label': 'churn', field: value})


def test_a_metric_without_compute_says_so():
  with pytest.raises(ValueError, match='churn'):
    metric_lib.Metric('churn', 'churn')(None, None)
