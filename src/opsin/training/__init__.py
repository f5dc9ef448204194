"""The one loop that everything is trained with: its settings, data, checkpoints and metrics (extra `train`)."""

from __future__ import annotations

from opsin.training.data import ImageFolder
from opsin.training.folder import RunFolder
from opsin.training.loop import train
from opsin.training.metrics import Progress
from opsin.training.recipe import Recipe, Updates
from opsin.training.settings import Settings

__all__ = ["ImageFolder", "Progress", "Recipe", "RunFolder", "Settings", "Updates", "train"]
