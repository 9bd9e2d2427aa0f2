"""Networks are found under any key and prefix, and told apart; the names here are invented anew in every run."""

import numpy as np
import pytest
from helpers import weight_files

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.formats.placeholder import Placeholder
from esrgan_jax.weights.network import recognise
from esrgan_jax.weights.state_dicts import choose, find_state_dicts

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
settings = hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)

GENERATOR = weight_files.generator(**weight_files.TINY)
AVERAGE = weight_files.generator(seed=1, **weight_files.TINY)
DISCRIMINATOR = weight_files.discriminator()

FROM_DIALECTS = (
    "model",
    "body",
    "module",
    "features",
    "conv_first",
    "conv0_0",
    "0",
    "1.sub",
    "_orig_mod",
    "RDB1",
)
INVENTED = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
PART = (st.sampled_from(FROM_DIALECTS) | INVENTED).filter(lambda text: text.strip("._/:"))
DIALECT = st.sampled_from([dict, weight_files.to_middle, weight_files.to_old])
BESIDE = st.dictionaries(INVENTED, st.integers() | st.text() | st.lists(st.floats()), max_size=3)


@st.composite
def wrappings(draw):
    """A function that puts a state dict somewhere, and where that is."""
    prefix = "".join(f"{part}." for part in draw(st.lists(PART, max_size=3)))
    keys = draw(st.lists(PART | st.sampled_from([list, tuple, Placeholder]), max_size=4))
    beside = draw(BESIDE)

    def wrap(state_dict):
        tree = {prefix + name: array for name, array in state_dict.items()}
        for key in keys:
            if key is Placeholder:
                wrapped = Placeholder("a.Class", (), {"network": tree})
            else:
                wrapped = key([3, tree]) if key in (list, tuple) else {**beside, key: tree}
            tree = wrapped
        return tree

    return wrap


def assert_same(state_dict, expected):
    assert state_dict.keys() == expected.keys()
    for name, array in expected.items():
        assert state_dict[name].dtype == array.dtype
        assert state_dict[name].tobytes() == array.tobytes()


@settings
@hypothesis.given(wrappings(), DIALECT)
def test_one_network_anywhere(wrap, dialect):
    found = find_state_dicts(wrap(dialect(GENERATOR)))
    assert len(found) == 1
    assert_same(recognise(found[0].state_dict, "file").state_dict, GENERATOR)


@settings
@hypothesis.given(st.lists(PART, min_size=2, max_size=2, unique=True), wrappings(), wrappings(), wrappings())
def test_two_networks_anywhere(keys, around, one, other):
    """In one dict under two prefixes, or under two keys of any depth."""
    hypothesis.assume(not keys[0].startswith(keys[1]) and not keys[1].startswith(keys[0]))
    first, second = (f"{key}." for key in keys)
    flat = weight_files.prefixed(DISCRIMINATOR, first) | weight_files.prefixed(GENERATOR, second)
    for tree in (around(flat), around({keys[0]: one(DISCRIMINATOR), keys[1]: other(GENERATOR)})):
        found = find_state_dicts(tree)
        assert sorted(x.role.removesuffix("_ema") for x in found) == ["discriminator", "params"]
        assert_same(choose(found, None, "file").state_dict, GENERATOR)
        assert_same(choose(found, "discriminator", "file").state_dict, DISCRIMINATOR)
        for candidate in found:
            if candidate.wrapper:  # _orig_mod is none
                assert choose(found, candidate.wrapper, "file") is candidate


@pytest.mark.parametrize(
    "key",
    [
        "ema",
        "g_ema",
        "netG-EMA",
        "generatorEma",
        "model_ema.module",
        "EMA",
        "averaged_model",
        "ema2",
        "shadow",
        "swa_model",
    ],
)
def test_the_moving_average_is_preferred(key):
    for tree in (
        {"net_g": GENERATOR, key: AVERAGE},
        {
            "state_dict": {
                **weight_files.prefixed(GENERATOR, "G."),
                **weight_files.prefixed(AVERAGE, f"{key}."),
            }
        },
    ):
        found = find_state_dicts(tree)
        assert_same(choose(found, None, "file").state_dict, AVERAGE)
        assert_same(choose(found, None, "file", order=("params",)).state_dict, GENERATOR)
        assert_same(choose(found, key, "file").state_dict, AVERAGE)


@pytest.mark.parametrize("key", ["schema", "cinema", "avgust", "semantic"])
def test_words_that_only_look_like_an_average(key):
    assert [found.role for found in find_state_dicts({key: GENERATOR})] == ["params"]


def test_keys():
    tree = {
        "run": {"net_g": GENERATOR, "net_g_ema": AVERAGE},
        "old": [{"w": DISCRIMINATOR}, {"net_g": AVERAGE}],
    }
    found = find_state_dicts(tree)
    assert [x.wrapper for x in found] == ["run/net_g", "run/net_g_ema", "old/0/w", "old/1/net_g"]
    assert_same(choose(found, "run/net_g", "file").state_dict, GENERATOR)
    assert_same(choose(found, "run.net_g.", "file").state_dict, GENERATOR)
    assert_same(choose(found, "run", "file").state_dict, AVERAGE)
    assert_same(choose(found, "old", "file").state_dict, AVERAGE)
    assert_same(choose(found, "w", "file").state_dict, DISCRIMINATOR)
    with pytest.raises(
        WeightFileError, match="several networks, old/1/net_g and run/net_g: choose one with --key"
    ):
        choose(found, "net_g", "file")
    with pytest.raises(
        WeightFileError, match="contains no net_x, only old/0/w and old/1/net_g and run/net_g and "
    ):
        choose(found, "net_x", "file")


def test_two_generators_must_be_told_apart_unless_they_are_the_same():
    with pytest.raises(
        WeightFileError, match=r"^file contains several networks, a and b: choose one with --key \(param"
    ):
        choose(find_state_dicts({"a": GENERATOR, "b": AVERAGE}), None, "file")
    copy = {name: array.copy() for name, array in GENERATOR.items()}
    assert_same(choose(find_state_dicts({"a": GENERATOR, "b": copy}), None, "file").state_dict, GENERATOR)


def test_arrays_beside_a_network_are_its_own_or_another_one():
    kernel = np.ones((2, 2, 3, 3), np.float32)
    tree = {"G.attention": np.ones(1), "loss.vgg.0.weight": kernel, **weight_files.prefixed(GENERATOR, "G.")}
    found = {x.wrapper: x.state_dict for x in find_state_dicts(tree)}
    assert found.keys() == {"G", "loss"}
    assert found["G"].keys() == GENERATOR.keys() | {"attention"}


@pytest.mark.parametrize(
    "wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_a_mod"]
)
def test_wrappers_around_layers(wrapper):
    expected = weight_files.generator()
    around_layers = {name.replace(".", f".{wrapper}.", 1): array for name, array in expected.items()}
    around_all = {f"net.{wrapper}.{name}": array for name, array in around_layers.items()}
    for tree in (around_layers, around_all, {"net": around_layers}):
        (found,) = find_state_dicts(tree)
        assert_same(found.state_dict, expected)
        assert found.wrapper in ("", "net")
    both = find_state_dicts(
        {**expected, **{f"{wrapper}.{name}": 2 * array for name, array in expected.items()}}
    )
    assert [network.wrapper for network in both] == ["", wrapper]  # neither is lost


def test_a_training_state():
    optimizer = {"state": {0: {"exp_avg": np.ones((2, 2))}}, "param_groups": [{"lr": 0.1}]}
    found = find_state_dicts({"iter": 70, "optimizers": [optimizer]})
    assert [(x.wrapper, x.role) for x in found] == [("optimizers/0", "optimizer")]
    with pytest.raises(
        WeightFileError, match=r"70\.state is a training state: .* no network\. Take net_g_70\.pth"
    ):
        choose(found, None, "70.state")
    found = find_state_dicts({"net": GENERATOR, "opt": optimizer})
    assert_same(choose(found, None, "file").state_dict, GENERATOR)


def test_files_that_hold_one_thing_very_often():
    """Each is small in a pickle."""
    laughs = {"conv_first.weight": np.ones((1, 1, 3, 3))}
    for _ in range(60):
        laughs = {"a": laughs, "b": [laughs]}
    itself: dict = {}
    itself["x"] = [itself, Placeholder("a.b", itself)]
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    many = {f"{'conv1_1.' * 50}{i}.conv_first.weight": np.ones((1, 1, 3, 3)) for i in range(1000)}
    for tree in (
        laughs,
        itself,
        deep,
        {"x": deep, "net": GENERATOR},
        many,
        5,
        None,
        np.ones(2),
        [np.ones(2)],
    ):
        assert len(find_state_dicts(tree)) <= 200


@pytest.mark.parametrize(
    "tree",
    [
        {"ema": {"ema_model": AVERAGE, "online_model": GENERATOR, "step": np.array(7)}},
        {"ema": {"ema_model": AVERAGE, "online_model": GENERATOR}, "model": GENERATOR},
        {
            f"ema.{name}.{key}": array
            for name, net in (("avg", AVERAGE), ("now", GENERATOR))
            for key, array in net.items()
        },
    ],
)
def test_an_average_is_told_from_what_lies_beside_it(tree):
    found = find_state_dicts(tree)
    assert_same(choose(found, None, "file").state_dict, AVERAGE)
    assert_same(choose(found, "params", "file").state_dict, GENERATOR)


def test_counters_beside_the_arrays_are_no_part_of_a_network():
    counters = {"epoch": np.array(3), "n_averaged": np.array(5.0, np.float32)}
    assert_same(
        choose(find_state_dicts({"params": GENERATOR | counters}), None, "file").state_dict, GENERATOR
    )
    prefixed = {f"net.{name}": array for name, array in (GENERATOR | counters).items()}
    assert_same(
        recognise(choose(find_state_dicts(prefixed), None, "file").state_dict, "file").state_dict, GENERATOR
    )
