"""Style transfer: a photo in the style of a painting, with the losses of `opsin.published`."""

from opsin.stylize.settings import LOSSES, Settings
from opsin.stylize.transfer import Progress, StylizeResult, stylize

__all__ = ["LOSSES", "Progress", "Settings", "StylizeResult", "stylize"]
