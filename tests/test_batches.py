"""Splits and batches: full windows, the right targets, clear errors."""

import pytest
import torch

from helpers.batches import get_batch, split


def test_the_parts_are_disjoint_and_make_up_the_text():
    ids = torch.arange(101)
    train, val = split(ids)
    assert len(train) == 90 and torch.equal(torch.cat([train, val]), ids)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
def test_a_part_that_would_be_too_small_is_refused(n):
    with pytest.raises(ValueError, match=f"{n} ids split into"):
        split(torch.arange(n))


def test_the_smallest_text_that_can_be_split():
    train, val = split(torch.arange(4), validation=0.5)
    assert len(train) == 2 and len(val) == 2


@pytest.mark.parametrize("validation", [0, 1, -0.1, 1.5, 10])
def test_a_share_outside_zero_and_one_is_refused(validation):
    with pytest.raises(ValueError, match=f"validation={validation}"):
        split(torch.arange(100), validation)


def test_targets_are_the_inputs_one_step_later():
    x, y = get_batch(torch.arange(1000), block_size=7, batch_size=5)
    assert x.shape == y.shape == (5, 7)
    assert torch.equal(y, x + 1) and torch.equal(x[:, 1:], y[:, :-1])
    assert x.dtype == y.dtype == torch.int64


def test_every_start_is_drawn_and_every_window_is_full():
    ids, block_size = torch.arange(9), 4
    x, y = get_batch(ids, block_size, batch_size=2000)
    assert sorted(set(x[:, 0].tolist())) == list(range(len(ids) - block_size))
    assert y.max() == len(ids) - 1


@pytest.mark.parametrize("n", [0, 8])
def test_a_text_shorter_than_a_window_is_refused_with_both_lengths(n):
    with pytest.raises(ValueError, match=f"text has {n} characters, but block_size=8 needs at least 9"):
        get_batch(torch.arange(n), block_size=8, batch_size=1)


def test_a_text_of_exactly_one_window_works():
    x, y = get_batch(torch.arange(9), block_size=8, batch_size=3)
    assert torch.equal(x, torch.arange(8).expand(3, 8)) and torch.equal(y, x + 1)


def test_a_batch_of_one_works():
    assert get_batch(torch.arange(50), block_size=4, batch_size=1)[0].shape == (1, 4)


@pytest.mark.parametrize("size", [0, -3])
def test_sizes_below_one_are_refused(size):
    with pytest.raises(ValueError, match=f"batch_size={size}"):
        get_batch(torch.arange(50), 4, size)
    with pytest.raises(ValueError, match=f"block_size={size}"):
        get_batch(torch.arange(50), size, 4)


def test_the_same_seed_gives_the_same_batches():
    draws = [get_batch(torch.arange(500), 8, 4, torch.Generator().manual_seed(3))[0] for _ in range(2)]
    assert torch.equal(*draws)


def test_small_integers_come_out_as_int64():
    x, y = get_batch(torch.arange(50, dtype=torch.uint8), 4, 2)
    assert x.dtype == y.dtype == torch.int64


def test_batches_can_be_viewed_as_in_the_lecture():
    x, y = get_batch(torch.arange(50), 4, 2)
    assert x.view(8).shape == y.view(8).shape == (8,)


def test_the_batch_is_put_where_it_is_asked():
    x, y = get_batch(torch.arange(50), 4, 2, device="meta")
    assert x.device.type == y.device.type == "meta"


def test_windows_begin_only_where_they_are_told():
    ids, starts = torch.arange(100), torch.tensor([0, 40, 95])
    x, y = get_batch(ids, 10, 64, torch.Generator().manual_seed(1), starts=starts)
    assert set(x[:, 0].tolist()) == {0, 40} and torch.equal(y, x + 1)  # behind 95 no whole window fits


@pytest.mark.parametrize("starts", [[], [95, 99]])
def test_starts_behind_which_no_window_fits_are_refused(starts):
    with pytest.raises(ValueError, match="no window of block_size=10 fits behind any of the given starts"):
        get_batch(torch.arange(100), 10, 4, starts=torch.tensor(starts, dtype=torch.long))
