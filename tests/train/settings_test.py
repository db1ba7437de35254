"""The train section: what it may say, and what it need not."""

import pytest

from wsjax.train import optimizer, settings

SECTION = {
  'steps': 10,
  'batch_size': 8,
  'inner_steps': 5,
  'checkpoint_every_steps': 5,
  'ema_decay': 0.9,
  'mesh': (('data', -1),),
  'learning_rate': 1e-3,
}


def test_what_is_not_the_loops_is_the_optimizers():
  read, rest = settings.read(
    SECTION | {'seeds': (0, 1), 'clip_norm': 1.0, 'parallel': 'pmap'}, optimizer.make
  )
  assert read.parallel == 'pmap' and read.keep == 2
  assert rest == {'steps': 10, 'learning_rate': 1e-3, 'clip_norm': 1.0}


def test_every_field_that_need_not_be_said_has_a_default():
  read, _ = settings.read(SECTION, optimizer.make)
  for name, value in settings.DEFAULTS.items():
    assert getattr(read, name) == value
  # What changes no number is a field, or the exceptions would have no effect.
  assert set(settings.HOW) <= {*settings.DEFAULTS, *SECTION}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'paralel': 'jit'}, "has 'paralel'; allowed: .*parallel"),
    ({'data': 'disk'}, "train.data is 'disk'; allowed: device, host"),
    ({'keep': 0}, 'train.keep is 0, not >= 1'),
    ({'steps': 0}, 'train.steps is 0, not >= 1'),
    ({'microbatch': -1}, 'train.microbatch is -1, not >= 0'),
  ],
)
def test_wrong_settings_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    settings.read(SECTION | changes, optimizer.make)


@pytest.mark.parametrize('name', ['steps', 'mesh', 'learning_rate'])
def test_what_has_no_default_must_be_said(name):
  section = {k: v for k, v in SECTION.items() if k != name}
  with pytest.raises(ValueError, match=f"lacks '{name}'"):
    settings.read(section, optimizer.make)
