"""What several commands do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opsin._version import __version__
from opsin.stderr import without_stderr

if TYPE_CHECKING:
    from opsin.stylize import StylizeResult


@contextmanager
def quiet_codecs() -> Iterator[None]:
    """Keep stderr for our one line: libtiff writes there past Python, whatever the error is turned into."""
    with without_stderr():
        yield


def how_it_was_made(result: StylizeResult, photo: Path, style: Sequence[Path]) -> dict[str, str]:
    """What the file of a stylized picture says of itself, without the folders that things lay in."""
    return {
        "Software": f"opsin {__version__}",
        "opsin:photo": photo.name,
        "opsin:style": json.dumps([path.name for path in style]),
        "opsin:settings": json.dumps(result.settings.describe()),
        "opsin:signature": str(result.signature),
    }
