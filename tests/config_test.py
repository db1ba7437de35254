import pytest

from wsjax import config


def test_options_keep_their_defaults():
  assert config.parse_arg('', smoke=False, width=64) == {'smoke': False, 'width': 64}


def test_a_bare_option_is_true_and_values_are_read_as_literals():
  values = config.parse_arg('smoke,width=8,rate=1', smoke=False, width=64,
                            rate=0.1)  # fmt: skip
  assert values == {'smoke': True, 'width': 8, 'rate': 1.0}


def test_a_tuple_lists_what_is_allowed_and_starts_with_the_default():
  assert config.parse_arg(None, mode=('raw', 'aligned')) == {'mode': 'raw'}
  with pytest.raises(ValueError, match="'nope'; allowed: 'raw', 'aligned'"):
    config.parse_arg('mode=nope', mode=('raw', 'aligned'))


@pytest.mark.parametrize(
  ('arg', 'message'),
  [
    ('widht=8', "Unknown config option 'widht'.*allowed: smoke, width"),
    ('width=wide', "'width' needs a int; got 'wide'"),
    ('smoke=1', "'smoke' needs a bool; got '1'"),
  ],
)
def test_a_wrong_option_says_what_is_allowed(arg, message):
  with pytest.raises(ValueError, match=message):
    config.parse_arg(arg, smoke=False, width=64)


def test_plugins_are_the_files_that_define_make():
  assert set(config.plugins('models')) == {'mlp', 'cnn', 'siren'}
  with pytest.raises(ValueError, match='no room'):
    config.plugins('nowhere')


def test_build_calls_make_with_the_rest_of_the_section():
  section = {'name': 'mlp', 'widths': [4, 3, 2]}
  assert config.build('models', section).spec.num_params == 23


@pytest.mark.parametrize(
  ('section', 'message'),
  [
    ({'name': 'mpl'}, "'mpl' is not a plug-in.*cnn, mlp, siren"),
    ({'widths': (4, 2)}, 'None is not a plug-in'),
    ({'name': 'mlp', 'width': 4}, "unexpected keyword argument 'width'"),
  ],
)
def test_a_wrong_section_says_what_is_allowed(section, message):
  with pytest.raises(ValueError, match=message):
    config.build('models', section)
