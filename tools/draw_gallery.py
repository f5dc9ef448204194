"""Draw the gallery of style transfer, docs/gallery.md and docs/images/gallery-*.jpg, by the commands that it shows.

    python tools/draw_gallery.py [losses options regions styles ...]

Photos are those of scikit-image and scikit-learn; the painting is opsin's own. All that is made lies in build/gallery
and isn't made again as long as it is there. The whole took 25 minutes on two cores that had other work too.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

import opsin
from opsin.report.painting import paint
from opsin.report.sheet import contact_sheet

ROOT = Path(__file__).parents[1]
DOCS, BUILD = ROOT / "docs", ROOT / "build" / "gallery"
# Photo -> package and folder in it, what it shows and whose it is.
PHOTOS: Mapping[str, tuple[str, str, str]] = {
    "china.jpg": ("sklearn", "datasets/images", "a pagoda of the Summer Palace, by danielbuechele (CC BY 2.0)"),
    "flower.jpg": ("sklearn", "datasets/images", "a flower, by vultilion (CC BY 2.0)"),
    "coffee.png": ("skimage", "data", "a cup of coffee, by Rachel Michetti (CC0)"),
    "rocket.jpg": ("skimage", "data", "DSCOVR on Falcon 9, by SpaceX (public domain)"),
    "astronaut.png": ("skimage", "data", "Eileen Collins, by NASA (public domain)"),
    "ihc.png": (
        "skimage",
        "data",
        "stained tissue, by the Center for Microscopy and Molecular Imaging (no known restrictions)",
    ),
}


def mask(picture: Image.Image, measure: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """White where a measure of a picture, a grey one, is above 0, and black elsewhere, with smooth outlines."""
    rough = measure(picture.convert("RGB")).point([0, *[255] * 255])
    smooth = rough.filter(ImageFilter.MedianFilter(9)).filter(ImageFilter.GaussianBlur(4))
    return smooth.point([0] * 128 + [255] * 128)


def red_over_blue(picture: Image.Image) -> Image.Image:
    """Above 0 where a picture is more red than blue by 40 of 255: yellow, orange and the like."""
    red, _, blue = picture.split()
    return ImageChops.subtract(red, blue, 1, -40)


def yellow(name: str) -> Image.Image:
    """The mask of what is yellow in a picture of the folder."""
    with Image.open(fetch(name)) as picture:
        return mask(picture, red_over_blue)


# What is drawn to go with photos: name -> the picture. Regions of white and black meet those of the same colour.
DRAWN: Mapping[str, Callable[[], Image.Image]] = {
    "painting.png": paint,
    "flower-regions.png": lambda: yellow("flower.jpg"),
    "painting-regions.png": lambda: yellow("painting.png"),
}


@dataclass(frozen=True)
class Cell:
    """A picture of a sheet: a file that is there, or the options of the command that makes it.

    Attributes:
        caption: what is written below.
        name: of the file.
        options: of `opsin stylize`, without the output; none for a file that is there.
    """

    caption: str
    name: str
    options: str = ""

    @property
    def command(self) -> str:
        """What makes it."""
        return f"opsin stylize {self.options} -o {self.name}"


@dataclass(frozen=True)
class Sheet:
    """A sheet of the gallery.

    Attributes:
        title: of its section.
        text: what there is to see.
        alt: words in place of the picture.
        cells: the pictures.
        columns: pictures in a row.
    """

    title: str
    text: str
    alt: str
    cells: Sequence[Cell]
    columns: int = 3

    @property
    def inputs(self) -> list[str]:
        """Names of all files that are not made by its commands."""
        words = {word for cell in self.cells for word in (cell.name, *shlex.split(cell.options))}
        return [name for name in (*PHOTOS, *DRAWN) if name in words]


def painted(photo: str, name: str, caption: str, options: str = "", *, size: int = 256, steps: int = 60) -> Cell:
    """A cell of a photo in the style of the painting, unless the options name another style."""
    style = "" if "--style " in options else "--style painting.png "
    return Cell(caption, name, f"{photo} {style}--size {size} --steps {steps} {options}".strip())


def by_loss(loss: str, what: str, *, steps: int = 80) -> Cell:
    """A cell of the pagoda under a loss."""
    options = f"--loss {loss} --start 96"
    return painted("china.jpg", f"loss-{loss}.png", f"{loss}: {what}", options, size=192, steps=steps)


SHEETS: Mapping[str, Sheet] = {
    "losses": Sheet(
        "Seven losses",
        "The same photo and painting under each `--loss`, with all weights at their defaults, at 192 pixels.",
        "A pagoda, a painting of eddies, and the pagoda painted under each of the seven losses, described below each",
        [
            Cell("the photo", "china.jpg"),
            Cell("the painting", "painting.png"),
            by_loss("gatys", "Gram matrices; eddies wherever they fit"),
            by_loss("wasserstein", "mean and covariance; the painting's colours"),
            by_loss("sliced-wasserstein", "the whole distribution of features"),
            by_loss("strotss", "optimal transport; keeps the photo's structure"),
            by_loss("mrf", "patches of the painting, whole eddies"),
            by_loss("contextual", "nearest features; strong strokes, clear shapes"),
            by_loss("nnfm", "nearest features by angle; pale, fine strokes"),
        ],
    ),
    "options": Sheet(
        "What the options do",
        "A cup of coffee under `gatys`, with one option changed at a time.",
        "A cup of coffee in the strokes of the painting, with more and less of the photo kept, larger and smaller "
        "strokes, the photo's own colours, and noise to begin with",
        [
            painted("coffee.png", "default.png", "all at its default"),
            painted("coffee.png", "content-5.png", "--content-weight 5", "--content-weight 5"),
            painted("coffee.png", "content-02.png", "--content-weight 0.2", "--content-weight 0.2"),
            painted("coffee.png", "scale-05.png", "--style-scale 0.5", "--style-scale 0.5"),
            painted("coffee.png", "scale-2.png", "--style-scale 2", "--style-scale 2"),
            painted("coffee.png", "noise.png", "--init noise", "--init noise"),
            painted("coffee.png", "linear.png", "--keep-colors linear", "--keep-colors linear"),
            painted("coffee.png", "luminance.png", "--keep-colors luminance", "--keep-colors luminance"),
            painted("coffee.png", "smooth.png", "--tv 1", "--tv 1"),
        ],
    ),
    "regions": Sheet(
        "Regions",
        "Masks of plain colours: here the flower takes the painting's suns, and what is around it takes the sky.",
        "A flower, its mask, the painting and its mask, the flower painted in yellow before a background of blue, and "
        "the same without regions",
        [
            Cell("the photo", "flower.jpg"),
            Cell("its regions", "flower-regions.png"),
            painted(
                "flower.jpg",
                "flower-by-regions.png",
                "with regions",
                "--regions flower-regions.png --style-regions painting-regions.png",
            ),
            Cell("the painting", "painting.png"),
            Cell("its regions", "painting-regions.png"),
            painted("flower.jpg", "flower.png", "without regions"),
        ],
    ),
    "styles": Sheet(
        "Any photo, any style",
        "Photos in the style of the painting, and in that of pictures that are no paintings; two styles can be mixed.",
        "An astronaut, a rocket and a pagoda in the strokes of the painting, the pagoda in the style of stained tissue "
        "and of a flower's petals, and in that of both the painting and the tissue",
        [
            painted(
                "astronaut.png", "astronaut-painting.png", "the astronaut, --content-weight 5", "--content-weight 5"
            ),
            painted("rocket.jpg", "rocket-painting.png", "a rocket"),
            painted("china.jpg", "china-larger.png", "the pagoda, larger strokes", "--style-scale 1.5"),
            painted("china.jpg", "china-ihc.png", "the style of stained tissue", "--style ihc.png"),
            painted("china.jpg", "china-flower.png", "the style of petals", "--style flower.jpg"),
            painted(
                "china.jpg",
                "china-mixed.png",
                "painting and tissue, 1 to 1",
                "--style painting.png --style ihc.png --style-weights 1,1",
            ),
        ],
    ),
}

_PAGE = """\
# Gallery

What [style transfer](stylize.md) makes of photos that come with scikit-image and scikit-learn, and of a painting that
`python -c "from opsin.report.painting import paint; paint().save('painting.png')"` draws. `tools/draw_gallery.py` made
all of it by the commands that are shown.
{sections}
## Photos

{photos}
"""


def fetch(name: str) -> Path:
    """The path of an input, copied or drawn into the folder if it isn't there."""
    path = BUILD / name
    if path.exists():
        return path
    if name in DRAWN:
        DRAWN[name]().save(path)
        return path
    package, folder, _ = PHOTOS[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the gallery must have the photos of {package}. pip install scikit-image scikit-learn")
    shutil.copyfile(Path(next(iter(spec.submodule_search_locations)), folder, name), path)
    return path


def draw(sheet: Sheet) -> Image.Image:
    """All of a sheet's commands, and the sheet."""
    for name in sheet.inputs:
        fetch(name)
    for cell in sheet.cells:
        if cell.options and not (BUILD / cell.name).exists():
            print(f"$ {cell.command}", flush=True)
            subprocess.run([sys.executable, "-m", *shlex.split(cell.command)], cwd=BUILD, check=True)  # noqa: S603 (our own commands)
    pictures = [(cell.caption, opsin.read_image(BUILD / cell.name)) for cell in sheet.cells]
    return contact_sheet(sheet.title, pictures, columns=sheet.columns, width=300)


def page() -> str:
    """docs/gallery.md."""
    sections = ""
    for name, sheet in SHEETS.items():
        commands = "\n".join(cell.command for cell in sheet.cells if cell.options)
        sections += f"\n## {sheet.title}\n\n{sheet.text}\n\n![{sheet.alt}](images/gallery-{name}.jpg)\n"
        sections += f"\n```sh\n{commands}\n```\n"
    used = {name for sheet in SHEETS.values() for name in sheet.inputs}
    photos = "\n".join(f"- `{name}`: {told}" for name, (_, _, told) in PHOTOS.items() if name in used)
    return _PAGE.format(sections=sections, photos=photos)


def main() -> None:
    """Draw the sheets that are named, or all, and write the page."""
    chosen = sys.argv[1:] or list(SHEETS)
    unknown = set(chosen) - set(SHEETS)
    if unknown:
        raise SystemExit(f"sheets must be of {', '.join(SHEETS)}, got {', '.join(sorted(unknown))}.")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        draw(SHEETS[name]).save(DOCS / "images" / f"gallery-{name}.jpg", quality=88)
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
