"""Batches by (seed, index) alone: whatever the threads, the processes and the interruptions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.pipeline import locate_patches, make_train_iterator, state_at
from esrgan_jax.data.sources import Mixture
from esrgan_jax.errors import ConfigError, DataError

SCALE = 4


class ArraySource:
    """Pairs in memory; sizes unknown beforehand, as with TFDS."""

    def __init__(self, pairs):
        self._pairs = pairs

    def __len__(self):
        return len(self._pairs)

    def __getitem__(self, index):
        return self._pairs[index]

    def name(self, index):
        return f"array {index}"

    def hr_size(self, index):
        return None


@pytest.fixture
def source(coordinates) -> ArraySource:
    """Seven small pairs; the third channel says which one a patch is from."""
    return ArraySource([coordinates(20 + tag, 30 - tag, SCALE, tag) for tag in range(7)])


def make(source, **changes):
    settings = {"scale": SCALE, "gt_size": 32, "batch_size": 6, "seed": 3, "num_threads": 2}
    return make_train_iterator(source, **(settings | changes))


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert set(batch) == set(other) == {"lr", "hr"}
        np.testing.assert_array_equal(batch["lr"], other["lr"])
        np.testing.assert_array_equal(batch["hr"], other["hr"])


def differ(batches, others):
    return any(not np.array_equal(a["lr"], b["lr"]) for a, b in zip(batches, others, strict=True))


def test_batches_are_uint8_and_aligned(source):
    for batch in take(make(source), 20):
        assert batch["lr"].shape == (6, 8, 8, 3)
        assert batch["hr"].shape == (6, 32, 32, 3)
        assert batch["lr"].dtype == batch["hr"].dtype == np.uint8
        np.testing.assert_array_equal(batch["hr"], batch["lr"].repeat(SCALE, axis=1).repeat(SCALE, axis=2))


def test_patches_are_turned_and_the_switches_work(source):
    def orientations(**switches):
        lr = np.concatenate([batch["lr"] for batch in take(make(source, **switches), 20)]).astype(int)
        down, right = lr[:, 1, 0, :2] - lr[:, 0, 0, :2], lr[:, 0, 1, :2] - lr[:, 0, 0, :2]
        return {tuple(row) for row in np.concatenate([down, right], axis=1).tolist()}

    assert len(orientations()) == 8
    assert orientations(use_hflip=False, use_rot=False) == {(1, 0, 0, 1)}
    assert orientations(use_rot=False) == {(1, 0, 0, 1), (1, 0, 0, -1)}
    assert len(orientations(use_hflip=False)) == 4


def test_an_epoch_is_every_image_once_in_a_new_order(source):
    epochs = [batch["lr"][:, 0, 0, 2].tolist() for batch in take(make(source, batch_size=7), 10)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) >= 8


def test_patches_of_an_image_differ_between_epochs(coordinates):
    source = ArraySource([coordinates(100, 100, SCALE)])
    batches = take(make(source, batch_size=1), 20)
    assert len({batch["lr"].tobytes() for batch in batches}) >= 18


def test_same_seed_same_batches_other_seed_other_batches(source):
    first = take(make(source), 8)
    assert_equal(first, take(make(source), 8))
    assert differ(first, take(make(source, seed=4), 8))


@pytest.mark.parametrize("num_threads", [None, 0, 1, 5])
def test_the_number_of_threads_changes_nothing(num_threads, source):
    assert_equal(take(make(source), 8), take(make(source, num_threads=num_threads), 8))


@pytest.mark.parametrize("process_count", [2, 3, 6])
def test_the_number_of_processes_changes_nothing(process_count, source):
    whole = take(make(source), 8)
    for process_index in range(process_count):
        part = take(make(source, process_index=process_index, process_count=process_count), 8)
        assert part[0]["lr"].shape[0] == 6 // process_count
        assert_equal(part, [{key: v[process_index::process_count] for key, v in b.items()} for b in whole])


@pytest.mark.parametrize("num_threads", [0, 1, 4])
@pytest.mark.parametrize("process_count", [1, 2])
def test_position_is_exact(num_threads, process_count, source):
    def new():
        return make(source, num_threads=num_threads, process_count=process_count)

    iterator = new()
    take(iterator, 3)
    # As it goes through a checkpoint: grain stores it as JSON.
    state = json.loads(json.dumps(iterator.get_state()))
    rest = take(iterator, 9)

    resumed = new()
    resumed.set_state(state)
    assert_equal(take(resumed, 9), rest)

    # Back in the same iterator, while its threads are reading ahead.
    iterator.set_state(state)
    assert iterator.get_state() == state
    assert_equal(take(iterator, 9), rest)


def test_position_is_the_number_of_patches_given_out(source):
    iterator = make(source, num_threads=4)
    take(iterator, 5)
    assert iterator.get_state() == {"next_index": 30}


def test_one_image_and_a_patch_as_large_as_it(coordinates):
    source = ArraySource([coordinates(8, 8, SCALE)])
    batch = next(make(source, use_hflip=False, use_rot=False))
    np.testing.assert_array_equal(batch["hr"], np.stack([source[0]["hr"]] * 6))


@pytest.mark.parametrize("num_threads", [0, 3])
def test_unreadable_image_reaches_the_caller_by_name(num_threads, tmp_path, write_image):
    for name in "abc":
        write_image(tmp_path / f"{name}.png", 64, 80)
    bad = tmp_path / "b.png"
    bad.write_bytes(bad.read_bytes()[:2000])
    iterator = make(FolderSource(tmp_path, scale=SCALE), num_threads=num_threads)
    with pytest.raises(DataError) as caught:
        take(iterator, 2)
    assert type(caught.value) is DataError
    assert str(bad) in str(caught.value)


def test_image_smaller_than_the_patch_is_refused_before_anything_is_read(tmp_path, write_image):
    write_image(tmp_path / "a.png", 64, 64)
    write_image(tmp_path / "small.png", 31, 64)
    with pytest.raises(
        DataError, match=r"small\.png has 64x31 pixels, too few for a training patch of 32x32"
    ):
        make(FolderSource(tmp_path, scale=SCALE))


@pytest.mark.parametrize("num_threads", [0, 3])
def test_small_image_of_unknown_size_is_named_when_it_is_read(num_threads, coordinates):
    source = ArraySource([coordinates(20, 20, SCALE), coordinates(7, 20, SCALE)])
    with pytest.raises(DataError, match=r"array 1 has 80x28 pixels, too few"):
        take(make(source, num_threads=num_threads), 2)


def test_settings_that_do_not_fit(source):
    with pytest.raises(ConfigError, match=r"`gt_size` \(=30\) must be a multiple of the scale \(=4\)"):
        make(source, gt_size=30)
    with pytest.raises(ConfigError, match=r"`batch_size` \(=6\) .* number of processes \(=4\)"):
        make(source, process_count=4)
    with pytest.raises(ConfigError, match=r"`seed` \(=-1\)"):
        make(source, seed=-1)


def test_seed_zero_gives_the_patches_it_always_gave(source):
    # [image, row, column] of the first corner of ten patches, as this code gave them with numpy 2.4 and grain
    # 0.2.18. Should they change, a run that continues sees other patches than it would have: say so in the
    # CHANGELOG.
    corners = next(make(source, batch_size=10, seed=0))["lr"][:, 0, 0]
    assert corners[:, [2, 0, 1]].tolist() == [
        [0, 13, 21],
        [6, 12, 7],
        [2, 14, 7],
        [5, 4, 14],
        [4, 20, 2],
        [3, 9, 24],
        [1, 10, 15],
        [0, 4, 10],
        [1, 16, 5],
        [6, 21, 0],
    ]


def test_large_seeds_are_seeds(source):
    assert differ(take(make(source, seed=2**63), 2), take(make(source, seed=2**63 + 1), 2))


# The position by number, and where a patch comes from.


@pytest.mark.parametrize("process_count", [1, 2, 3])
def test_state_at_a_step_gives_that_batch_to_every_process(process_count, source):
    whole = take(make(source), 9)
    for process_index in range(process_count):
        iterator = make(source, process_index=process_index, process_count=process_count)
        take(iterator, 2)
        iterator.set_state(state_at(5 * 6, process_count))
        for batch in whole[5:]:
            part = {key: value[process_index::process_count] for key, value in batch.items()}
            assert_equal([next(iterator)], [part])
        assert iterator.get_state() == state_at(9 * 6, process_count)


def test_state_at_goes_on_with_another_batch_size(source):
    stream = np.concatenate([batch["hr"] for batch in take(make(source), 8)])
    iterator = make(source, batch_size=4)
    iterator.set_state(state_at(5 * 6))
    np.testing.assert_array_equal(next(iterator)["hr"], stream[30:34])


def test_state_at_refuses_what_cannot_be_shared_out():
    with pytest.raises(ConfigError, match="30 patches cannot be shared out among 4 processes"):
        state_at(30, 4)


@pytest.mark.parametrize("switches", [{}, {"use_hflip": False}, {"use_rot": False}])
def test_located_patches_are_those_that_the_iterator_gives(switches, coordinates):
    # Noise, so that every orientation differs; located patches are cut out by hand.
    rng = np.random.default_rng(0)
    pairs = [coordinates(20 + tag, 30 - tag, SCALE, tag) for tag in range(3)]
    for pair in pairs:
        pair["hr"] = rng.integers(0, 256, pair["hr"].shape, dtype=np.uint8)
    source = ArraySource(pairs)
    patches = np.concatenate([batch["hr"] for batch in take(make(source, **switches), 6)])
    located = locate_patches(source, range(36), scale=SCALE, gt_size=32, seed=3, **switches)
    assert (
        len({place[3:] for place in located}) == {0: 8, 1: 4 if "use_hflip" in switches else 2}[len(switches)]
    )
    for patch, place in zip(patches, located, strict=True):
        image = pairs[int(place.image.removeprefix("array "))]["hr"]
        expected = image[place.y : place.y + 32, place.x : place.x + 32]
        expected = expected[:, ::-1] if place.flip_x else expected
        expected = expected[::-1] if place.flip_y else expected
        np.testing.assert_array_equal(patch, expected.swapaxes(0, 1) if place.transpose else expected)
    some = locate_patches(source, [35, 7], scale=SCALE, gt_size=32, seed=3, **switches)
    assert some == [located[35], located[7]]


# Several sources.


def tags(batches):
    return np.concatenate([batch["lr"][:, 0, 0, 2] for batch in batches]).tolist()


@pytest.fixture
def mixture(coordinates) -> Mixture:
    """Three images with tags 0 to 2, and two with tags 3 and 4; of the second every third patch."""
    pairs = [coordinates(20 + tag, 30 - tag, SCALE, tag) for tag in range(5)]
    return Mixture([ArraySource(pairs[:3]), ArraySource(pairs[3:])], (2, 1))


def test_weights_of_a_mixture(mixture):
    counts = np.bincount(tags(take(make(mixture, batch_size=32, gt_size=8), 96)))  # three blocks of 1,024
    assert abs(counts[:3].sum() - 2048) <= 1
    assert abs(counts[3:].sum() - 1024) <= 1
    assert np.ptp(counts[:3]) <= 2
    assert np.ptp(counts[3:]) <= 2


def test_a_mixture_is_the_same_for_any_threads_processes_and_position(mixture):
    whole = take(make(mixture), 8)
    assert_equal(take(make(mixture, num_threads=5), 8), whole)
    assert_equal(take(make(mixture, num_threads=0), 8), whole)
    for process_index in range(3):
        part = make(mixture, process_index=process_index, process_count=3)
        part.set_state(state_at(4 * 6, 3))
        expected = [{key: value[process_index::3] for key, value in batch.items()} for batch in whole[4:]]
        assert_equal(take(part, 4), expected)


def test_a_mixture_of_one_is_that_one(source):
    assert_equal(take(make(Mixture([source])), 5), take(make(source), 5))


# Bad images that are skipped.


@pytest.fixture
def half_bad(coordinates) -> ArraySource:
    """Seven pairs as in `source`, of which 2 cannot be read and 5 is smaller than the patch."""
    pairs = [coordinates(20 + tag, 30 - tag, SCALE, tag) for tag in range(7)]
    pairs[5] = coordinates(7, 20, SCALE, 5)

    class HalfBad(ArraySource):
        def __getitem__(self, index):
            if index == 2:
                raise DataError("array 2 is damaged.")
            return super().__getitem__(index)

    return HalfBad(pairs)


def test_the_next_image_of_the_epoch_takes_the_place_of_a_bad_one(source, half_bad):
    expected = tags(take(make(source, batch_size=7), 20))
    skipped: dict[str, str] = {}
    found = tags(take(make(half_bad, batch_size=7, skipped=skipped), 20))
    for start in range(0, 140, 7):
        epoch = expected[start : start + 7]
        for place, tag in enumerate(epoch):
            following = [other for other in epoch[place:] + epoch[:place] if other not in (2, 5)]
            assert found[start + place] == following[0]
            assert tag in (2, 5) or following[0] == tag
    assert skipped.keys() == {"array 2", "array 5"}
    assert skipped["array 2"] == "array 2 is damaged."
    assert "array 5 has 80x28 pixels, too few for a training patch of 32x32" in skipped["array 5"]


def test_skipping_is_the_same_for_any_threads_processes_and_position(half_bad):
    whole = take(make(half_bad, skipped={}), 12)
    for num_threads in (0, 5):
        assert_equal(take(make(half_bad, skipped={}, num_threads=num_threads), 12), whole)
    for process_index in range(2):
        part = make(half_bad, skipped={}, process_index=process_index, process_count=2)
        part.set_state(state_at(7 * 6, 2))  # it has not met the bad images of the batches before
        expected = [{key: value[process_index::2] for key, value in batch.items()} for batch in whole[7:]]
        assert_equal(take(part, 5), expected)
    located = locate_patches(half_bad, range(12), scale=SCALE, gt_size=32, seed=3, skipped={})
    assert [int(place.image[-1]) for place in located] == tags(whole[:2])


def test_a_bad_image_is_read_once(half_bad, monkeypatch):
    read = []
    get = type(half_bad).__getitem__
    monkeypatch.setattr(
        type(half_bad), "__getitem__", lambda self, index: (read.append(index), get(self, index))[1]
    )
    take(make(half_bad, skipped={}, num_threads=0), 20)
    assert read.count(2) == read.count(5) == 1


@pytest.mark.parametrize("num_threads", [0, 3])
def test_all_images_bad_is_an_error(num_threads, coordinates):
    source = ArraySource([coordinates(7, 20, SCALE), coordinates(20, 7, SCALE)])
    with pytest.raises(DataError, match=r"No image is left to train on: array [01] and all others"):
        next(make(source, num_threads=num_threads, skipped={}))


def test_images_that_are_known_to_be_too_small_are_counted_at_once(tmp_path, write_image):
    write_image(tmp_path / "a.png", 64, 64)
    write_image(tmp_path / "small.png", 31, 64)
    skipped: dict[str, str] = {}
    batches = take(make(FolderSource(tmp_path, scale=SCALE), skipped=skipped), 3)
    assert len(batches) == 3
    assert list(skipped) == [str(tmp_path / "small.png")]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"small\.png has 64x31 pixels"):
        make(FolderSource(tmp_path, scale=SCALE), skipped={})


def test_a_cache_that_cannot_be_written_is_no_bad_image(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "hr/a.png", 64, 64)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "file"))
    skipped: dict[str, str] = {}
    next(make(FolderSource(tmp_path / "hr", scale=SCALE), skipped=skipped))
    assert skipped == {}
