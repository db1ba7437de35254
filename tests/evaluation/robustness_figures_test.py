"""Figures of the optional axes are in the page where there is something."""

import re

import numpy as np
import pytest

from tests.reference import fake_report
from wsjax.evaluation.report import report, robustness_figures

FAMILIES = ('noise', 'blur')
RADII = [0.0, 0.1, 0.2]


@pytest.fixture(scope='module')
def made():
  value = fake_report.make()
  names = [arm['name'] for arm in value['arms']]
  value['corruptions'] = {
    name: {family: np.linspace(0.05, 0.9, 6).tolist() for family in FAMILIES} for name in names
  }
  value['adversarial'] = {
    name: {
      norm: {'epsilon': RADII, 'robust': [0.9, 0.5, 0.1], 'noise': [0.9] * 3}
      for norm in ('linf', 'l2')
    }
    for name in names[:-1]
  }
  value['finetuning'] = {
    name: {'steps': [0.0, 5.0, 10.0], 'accuracy': [0.1, 0.5, 0.9]} for name in names
  }
  return value


def test_page_has_them_only_if_they_were_measured(made):
  page = report.page(made)
  assert page.count('<svg ') == 9
  assert 'id="severity-' in page and 'id="attack-' in page
  assert 'id="finetuning-' in page
  ids = re.findall(r'\bid="([^"]*)"', page)
  assert len(ids) == len(set(ids))
  plain = report.page(fake_report.make())
  assert plain.count('<svg ') == 6 and 'adversary' not in plain


def test_every_arm_is_drawn_and_generators_are_named(made):
  for draw, section, per_panel in (
    (robustness_figures.severity, 'corruptions', 1),
    (robustness_figures.attack, 'adversarial', 1),
    (robustness_figures.finetuning, 'finetuning', 0.5),
  ):
    drawn = draw(made)
    for name in ('diffusion', 'diffusion raw', 'zoo, leave one out'):
      assert f'>{name}<' in drawn
    assert '>gaussian<' not in drawn
    lines = len(re.findall(r'var\(--baseline\)', drawn))
    baselines = sum(
      arm['kind'] == 'baseline' and arm['name'] in made[section] for arm in made['arms']
    )
    assert lines == 2 * per_panel * baselines
    assert draw(made) == drawn, 'the same report gives the same bytes'


def test_a_curve_follows_its_values(made):
  worse = {**made, 'corruptions': {'diffusion': {'noise': [0.1] * 6}}}
  assert robustness_figures.severity(worse) != robustness_figures.severity(
    {**made, 'corruptions': {'diffusion': {'noise': [0.1] * 5 + [0.9]}}}
  )
