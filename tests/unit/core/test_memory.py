"""The memory that is told before a loss runs is what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import opsin
from opsin import InputError, _native, fit_memory, peak_memory
from opsin.published.gatys import gatys_style
from opsin.published.lpips import lpips

MEASURE = """
import re, sys, torch, opsin
import torch._dynamo  # which torch.utils.checkpoint would import at its first call
from pathlib import Path
from opsin.published.lpips import lpips

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

loss = lpips("vgg", "random", validate="never")
x = torch.rand(1, 3, 320, 320, requires_grad=True)
y = torch.rand(1, 3, 320, 320)
loss(x, y).backward()  # what is allocated once, filters among it
x.grad = None
Path("/proc/self/clear_refs").write_text("5")
before = peak()
loss(x, y, **eval(sys.argv[1])).backward()
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak")
@pytest.mark.parametrize("options", [{}, {"memory": "low"}, {"tile": 128}])
def test_it_is_what_the_process_grows_by(options, monkeypatch):
    # What is freed goes back to the system at once, and nothing is laid out natively.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OPSIN_CONV": "direct"}
    monkeypatch.setenv("OPSIN_CONV", "direct")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, repr(options)], check=True, capture_output=True, text=True, env=env
    )
    told = peak_memory(lpips("vgg", "random"), (1, 3, 320, 320), **options)
    assert told == pytest.approx(int(done.stdout), rel=0.2)


def test_what_it_depends_on(monkeypatch):
    monkeypatch.setenv("OPSIN_CONV", "direct")
    loss = lpips("vgg", "random")
    small, large = (peak_memory(loss, (1, 3, n, n)) for n in (64, 128))
    assert 2 * small < large
    values = peak_memory(loss, (1, 3, 128, 128), gradient=False)
    kept = peak_memory(loss, (1, 3, 128, 128), gradient=False, kept=True)
    assert kept < values < large
    assert peak_memory(loss.to(torch.float64), (1, 3, 64, 64), dtype=torch.float64) > small
    assert peak_memory(loss, (1, 2, 3, 64, 64), dtype=torch.float64) > small


def test_it_computes_nothing_and_leaves_the_loss_alone():
    loss = gatys_style("vgg11", "random", layers={"relu1_1": 1.0}, validate="always")
    # 10 gigapixels: a terabyte.
    assert peak_memory(loss, (1, 3, 100_000, 100_000)) > 10**12
    assert loss.validate == "always"


def test_the_fastest_that_fits(monkeypatch):
    monkeypatch.setenv("OPSIN_CONV", "direct")
    loss = opsin.build("vgg19", ["relu5_1"], "gram", weights="random")
    shape = (1, 3, 384, 384)
    normal, low, tiled = (peak_memory(loss, shape, **o) for o in ({}, {"memory": "low"}, {"tile": 256}))
    assert normal > low > tiled
    assert fit_memory(loss, shape, normal) == {}
    assert fit_memory(loss, shape, normal - 1) == {"memory": "low"}
    assert fit_memory(loss, shape, tiled) == {"tile": 256}
    with pytest.raises(InputError, match=r"limit must be at least [\d,]+ bytes.*with {'tile': 64}, got 1,000"):
        fit_memory(loss, shape, 1000)


def test_what_cannot_be_tiled():
    loss = opsin.build("vgg11", ["relu2_1"], "histogram", weights="random")
    with pytest.raises(InputError, match="tile must be for terms that are sums"):
        fit_memory(loss, (1, 3, 96, 96), 1000)


@pytest.mark.skipif(not _native.available(), reason="no native library")
def test_the_native_filters_are_counted_once(monkeypatch):
    shape = (1, 3, 64, 64)
    native = peak_memory(opsin.build("vgg11", ["relu3_2"], "l2", weights="random"), shape)
    monkeypatch.setenv("OPSIN_CONV", "direct")
    direct = peak_memory(opsin.build("vgg11", ["relu3_2"], "l2", weights="random"), shape)
    # Those of 64 to 128, 128 to 256 and 256 to 256 channels, the same there and back, at 36 numbers for each 9.
    assert native - direct == pytest.approx(4 * 36 * (64 * 128 + 128 * 256 + 256 * 256), rel=0.05)


def test_losses_that_must_see_values():
    class Asks(opsin.distances.L2):
        def map(self, x, y):
            return super().map(x, y) * float(x.mean())

    loss = opsin.build("vgg11", ["relu1_1"], Asks(), weights="random")
    with pytest.raises(InputError, match="does the same whatever the images' values"):
        peak_memory(loss, (1, 3, 32, 32))
