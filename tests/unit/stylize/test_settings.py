"""The choices of a stylization, checked."""

from __future__ import annotations

import math

import pytest

import opsin
from opsin.stylize import Settings


def test_scales_grow_to_the_size():
    assert Settings(size=512).sizes() == [128, 256, 512]
    assert Settings(size=512, growth=math.sqrt(2)).sizes() == [128, 181, 256, 362, 512]
    assert Settings(size=100).sizes() == [100]
    assert Settings(size=300, start=300).sizes() == [300]


def test_the_first_scale_gets_twice_the_steps():
    assert [Settings(steps=30).steps_at(i) for i in range(3)] == [60, 30, 30]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "gatsy"}, r"unknown loss 'gatsy' for style transfer; did you mean 'gatys'\?"),
        ({"optimizer": "sgd"}, r"unknown optimizer 'sgd'"),
        ({"init": "photo"}, r"unknown initial image 'photo'"),
        ({"keep_colors": "yes"}, r"unknown keep_colors 'yes'"),
        ({"pooling": "min"}, r"unknown pooling 'min'"),
        ({"size": 8}, r"size must be a whole number of at least 16, got 8"),
        ({"steps": 0}, r"steps must be a whole number of at least 1, got 0"),
        ({"steps": 1.5}, r"steps must be a whole number"),
        ({"growth": 1.0}, r"growth must be at least 1.1, got 1.0"),
        ({"style_scale": 0.0}, r"style_scale must be a positive number"),
        ({"lr": -1.0}, r"lr must be a positive number"),
        ({"averaging": 1.0}, r"averaging must be at least 0 and below 1"),
        ({"content_weight": -1.0}, r"content_weight must be a number of at least 0"),
        ({"tv": math.nan}, r"tv must be a number of at least 0, got nan"),
        ({"content_wieght": 1.0}, r"unknown setting 'content_wieght'; did you mean 'content_weight'\?"),
    ],
)
def test_what_does_not_fit(options, message):
    with pytest.raises(opsin.OpsinError, match=message):
        Settings.of(options)
