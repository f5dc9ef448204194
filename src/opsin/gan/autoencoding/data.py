"""A folder of images as crops of their own pixels, shown and measured by the crop in the middle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from opsin.training.data import ImageFolder, middle_square


class CropFolder(ImageFolder):
    """Crops of images, numbered without end; see `ImageFolder`."""

    def middle(self, image: Tensor, path: Path) -> tuple[Tensor, ...]:
        """The crop in the middle of an image.

        Raises:
            TooSmallError: the image is smaller.
        """
        self.check_size(image, path)
        return (middle_square(image, self.crop).contiguous(memory_format=torch.contiguous_format),)
