"""Every image once an epoch, every source its share, at any position and in any order of asking."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest

from esrgan_jax.data.order import BLOCK, Order


def first(order, indices):
    return [next(order.images(index)) for index in indices]


def test_one_source_is_a_permutation_an_epoch_as_it_always_was():
    order = Order([7], [1.0], seed=5)
    for epoch in (0, 1, 10**9):
        expected = np.random.default_rng((5, epoch)).permutation(7).tolist()
        assert first(order, range(7 * epoch, 7 * epoch + 7)) == expected


def test_images_that_take_the_place_of_a_bad_one_are_the_rest_of_the_epoch():
    order = Order([5], [1.0], seed=0)
    epoch = first(order, range(5))
    for place in range(5):
        assert list(order.images(place)) == epoch[place:] + epoch[:place]


@pytest.mark.parametrize(
    "sizes, weights", [((3, 50), (3, 1)), ((10, 4, 100), (0.1, 0.2, 0.7)), ((2, 3), (1, 1e-4))]
)
def test_weights_are_kept_exactly_in_the_long_run(sizes, weights):
    order = Order(sizes, weights, seed=1)
    ends = list(itertools.accumulate(sizes))
    counts: collections.Counter[int] = collections.Counter()
    blocks = 40
    for block in range(blocks):
        images = first(order, range(block * BLOCK, (block + 1) * BLOCK))
        counts.update(np.searchsorted(ends, images, side="right").tolist())
        for source, weight in enumerate(weights):
            share = (block + 1) * BLOCK * weight / sum(weights)
            assert abs(counts[source] - share) < len(sizes)
    assert counts.total() == blocks * BLOCK


def test_weights_are_kept_far_out():
    """No patch is counted to get there."""
    order = Order([3, 4], [1, 3], seed=1)
    start = 10**12 * BLOCK
    images = first(order, range(start, start + BLOCK))
    assert sum(image < 3 for image in images) == BLOCK // 4


def test_each_source_has_epochs_of_its_own():
    order = Order([5, 11], [1, 1], seed=2)
    images = first(order, range(4 * BLOCK))
    for members in (range(5), range(5, 16)):
        turns = [image for image in images if image in members]
        # Within a block turns are shuffled, so that only whole blocks are whole epochs, but for the two at the ends.
        counts = collections.Counter(turns)
        assert set(counts) == set(members)
        assert max(counts.values()) - min(counts.values()) <= 1
    small = {tuple(first(order, range(block * BLOCK, block * BLOCK + 16))) for block in range(4)}
    assert len(small) == 4


def test_images_of_a_mixture_that_take_the_place_of_a_bad_one_are_of_the_same_source():
    order = Order([5, 11], [1, 1], seed=2)
    for index in range(50):
        images = list(order.images(index))
        assert sorted(images) == (list(range(5)) if images[0] < 5 else list(range(5, 16)))


def test_sources_are_mixed_within_a_block():
    """Strict alternation would give each of two processes one source alone."""
    order = Order([5, 5], [1, 1], seed=0)
    images = first(order, range(BLOCK))
    evens = sum(image < 5 for image in images[::2])
    assert abs(evens - BLOCK // 4) < 60
    runs = [len(list(group)) for _, group in itertools.groupby(image < 5 for image in images)]
    assert max(runs) < 20


def test_the_order_depends_on_seed_and_index_alone():
    order, again = Order([5, 11], [1, 2], seed=2), Order([5, 11], [1, 2], seed=2)
    indices = range(3000)
    backwards = first(again, reversed(indices))[::-1]
    assert first(order, indices) == backwards
    assert first(Order([5, 11], [1, 2], seed=3), indices) != backwards


def test_the_order_of_a_mixture_stays_what_it_was():
    # Should it change, a run that continues sees other patches than it would have: say so in the CHANGELOG.
    order = Order([5, 11], [1, 3], seed=0)
    assert first(order, range(12)) == [5, 12, 13, 1, 11, 12, 15, 12, 0, 7, 7, 2]
