"""The memory of large maps: used again once nobody has it, and never before."""

from __future__ import annotations

import gc
import threading

import torch

from opsin._native.buffers import Pool, floats

MEGABYTE = 1 << 20
SHAPE = (4, 64, 32, 32)  # one megabyte


def test_a_buffer_is_used_again_once_its_last_tensor_is_gone() -> None:
    pool = Pool(8 * MEGABYTE)
    first = floats(SHAPE, pool=pool)
    part, place = first[1:], first.data_ptr()
    del first
    gc.collect()
    assert pool.sizes == []  # a part of it is still in use
    del part
    assert pool.sizes == [MEGABYTE]
    assert floats(SHAPE, pool=pool).data_ptr() == place


def test_two_tensors_at_a_time_have_two_buffers() -> None:
    pool = Pool(8 * MEGABYTE)
    x, y = floats(SHAPE, pool=pool).fill_(1), floats(SHAPE, pool=pool).fill_(2)
    assert x.data_ptr() != y.data_ptr()
    assert bool((x == 1).all()) and bool((y == 2).all())


def test_the_smallest_that_will_do_is_taken_and_none_of_more_than_twice_the_size() -> None:
    pool = Pool(64 * MEGABYTE)
    held = [floats((k, *SHAPE[1:]), pool=pool) for k in (4, 8, 16)]
    del held
    assert sorted(pool.sizes) == [MEGABYTE, 2 * MEGABYTE, 4 * MEGABYTE]
    x = floats((7, *SHAPE[1:]), pool=pool)
    assert sorted(pool.sizes) == [MEGABYTE, 4 * MEGABYTE]
    y = floats((2, *SHAPE[1:]), pool=pool)
    assert sorted(pool.sizes) == [4 * MEGABYTE]
    z = floats((4, *SHAPE[1:]), pool=pool)  # a quarter of the one that is left
    assert sorted(pool.sizes) == [4 * MEGABYTE]
    assert len({t.data_ptr() for t in (x, y, z)}) == 3


def test_no_more_is_kept_than_the_limit() -> None:
    pool = Pool(2 * MEGABYTE)
    held = [floats(SHAPE, pool=pool) for _ in range(5)]
    held.append(floats((16, *SHAPE[1:]), pool=pool))  # more than all of it
    del held
    assert sum(pool.sizes) <= 2 * MEGABYTE


def test_small_ones_and_those_that_stay_are_not_the_pools() -> None:
    pool = Pool(8 * MEGABYTE)
    x, y = floats((4, 3), pool=pool), floats(SHAPE, pool=None)
    assert x.shape == (4, 3) and y.fill_(1).sum() == y.numel()
    del x, y
    assert pool.sizes == []


def test_layout_and_gradients_added_in_place() -> None:
    _, c, h, w = SHAPE
    strides = (h * w * c, 1, w * c, c)
    x = floats(SHAPE, strides)
    assert x.shape == SHAPE and x.is_contiguous(memory_format=torch.channels_last) and not x._is_view()
    places = []

    class Ones(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, grad):
            found = floats(SHAPE, strides).fill_(1)
            places.append(found.data_ptr())
            return found

    x = torch.rand(SHAPE).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = x * 1
    y.register_hook(lambda grad: places.append(grad.data_ptr()))
    (gradient,) = torch.autograd.grad(Ones.apply(y) + Ones.apply(y), x)
    assert bool((gradient == 2).all())
    assert places[-1] == places[0]


def test_threads_do_not_get_each_others() -> None:
    pool, wrong = Pool(4 * MEGABYTE), []

    def work(value: int) -> None:
        for _ in range(200):
            x = floats(SHAPE, pool=pool).fill_(value)
            if not bool((x == value).all()):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and sum(pool.sizes) <= 4 * MEGABYTE
