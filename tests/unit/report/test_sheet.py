"""The contact sheet: every picture is on it, in its place."""

from __future__ import annotations

import numpy as np
import torch

from opsin.report.sheet import contact_sheet


def plain(colour: tuple[float, float, float], height: int = 20, width: int = 40) -> torch.Tensor:
    return torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, height, width)


def test_every_picture_is_on_it_in_reading_order():
    colours = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    sheet = np.asarray(contact_sheet("Three", [(str(c), plain(c)) for c in colours], columns=2, width=100))
    places = []
    for colour in colours:
        rows, columns = np.nonzero((sheet == np.array(colour) * 255).all(axis=2))
        assert len(rows) == 100 * 50
        places.append((rows.min(), columns.min()))
    assert places[0][0] == places[1][0] < places[2][0] and places[0][1] == places[2][1] < places[1][1]


def test_pictures_of_a_row_have_one_height():
    """Whatever their shapes, so that a square beside a wide one leaves no hole above its caption."""
    wide, square = plain((1.0, 0.0, 0.0)), plain((0.0, 1.0, 0.0), 30, 30)
    sheet = np.asarray(contact_sheet("Two", [("wide", wide), ("square", square)], columns=2, width=100))
    sizes = []
    for colour in ((255, 0, 0), (0, 255, 0)):
        rows, columns = np.nonzero((sheet == colour).all(axis=2))
        sizes.append((np.ptp(columns) + 1, np.ptp(rows) + 1))
    assert sizes == [(100, 50), (50, 50)]


def test_long_captions_and_notes_make_room():
    short, long = (
        contact_sheet("A", [(caption, plain((1.0, 0.0, 0.0)))], columns=3, notes=notes)
        for caption, notes in (("a", ()), ("many words " * 20, ["a note " * 30]))
    )
    assert short.width == long.width and long.height > short.height + 50
