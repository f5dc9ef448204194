"""Small datasets in the layouts that their authors publish, of tiny images."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 16


class Maker:
    """Writes datasets into a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def image(self, path: Path, seed: int, amount: float = 0.0, side: int = SIDE) -> Path:
        """A picture of noise, changed by an amount from 0 to 1."""
        plain = np.random.default_rng(seed).random((side, side, 3))
        other = np.random.default_rng(seed + 1000).random((side, side, 3))
        path.parent.mkdir(parents=True, exist_ok=True)
        mixed = (1 - amount) * plain + amount * other
        Image.fromarray(np.rint(255 * mixed).astype(np.uint8)).save(path)
        return path

    def bapps_2afc(
        self, parts: Mapping[str, Sequence[tuple[float, float, float]]], split: str = "val", side: int = SIDE
    ) -> Path:
        """Part -> triplets (how far p0 is changed, how far p1 is, the fraction that found p1 closer)."""
        seed = 0
        for part, triplets in parts.items():
            home = self.root / "2afc" / split / part
            for number, (p0, p1, judge) in enumerate(triplets):
                seed += 1
                for folder, amount in {"ref": 0.0, "p0": p0, "p1": p1}.items():
                    self.image(home / folder / f"{number:06d}.png", seed, amount, side)
                (home / "judge").mkdir(exist_ok=True)
                np.save(home / "judge" / f"{number:06d}.npy", np.array([judge], dtype=np.float32))
        return self.root

    def bapps_jnd(self, parts: Mapping[str, Sequence[tuple[float, float]]], side: int = SIDE) -> Path:
        """Part -> pairs (how far p1 is changed, the fraction that saw no difference)."""
        seed = 500
        for part, pairs in parts.items():
            home = self.root / "jnd" / "val" / part
            for number, (amount, same) in enumerate(pairs):
                seed += 1
                self.image(home / "p0" / f"{number:06d}.png", seed, 0.0, side)
                self.image(home / "p1" / f"{number:06d}.png", seed, amount, side)
                (home / "same").mkdir(exist_ok=True)
                np.save(home / "same" / f"{number:06d}.npy", np.array([same], dtype=np.float32))
        return self.root

    def tid2013(self, references: int = 3, kinds: int = 2, levels: int = 3) -> Path:
        """The last reference and its images are in lower case, as in the authors' archive."""
        lines = []
        for i in range(1, references + 1):
            letter, ending = ("I", "BMP") if i < references else ("i", "bmp")
            self.image(self.root / "reference_images" / f"{letter}{i:02d}.{ending}", i)
            for kind in range(1, kinds + 1):
                for level in range(1, levels + 1):
                    name = f"{letter}{i:02d}_{kind:02d}_{level}.bmp"
                    amount = level / 8 + kind / 100 + i / 1000
                    self.image(self.root / "distorted_images" / name, i, amount)
                    lines.append(f"{9 * (1 - amount):.5f} {name}")
        (self.root / "mos_with_names.txt").write_text("\r\n".join(lines) + "\r\n")
        return self.root

    def kadid10k(self, references: int = 3, kinds: int = 2, levels: int = 3) -> Path:
        rows = ["dist_img,ref_img,dmos,var"]
        for i in range(1, references + 1):
            self.image(self.root / "images" / f"I{i:02d}.png", i)
            for kind in range(1, kinds + 1):
                for level in range(1, levels + 1):
                    amount = level / 8 + kind / 100 + i / 1000
                    name = f"I{i:02d}_{kind:02d}_{level:02d}.png"
                    self.image(self.root / "images" / name, i, amount)
                    rows.append(f"{name},I{i:02d}.png,{5 - 4 * amount:.2f},0.5")
        (self.root / "dmos.csv").write_text("\n".join(rows) + "\n")
        return self.root

    def csiq(self, *, table: str = "xlsx") -> Path:
        """Of the images 1600, a number to Excel, and "lady"; a table with rows and columns before it."""
        tokens = {"noise": "AWGN", "blur": "BLUR", "jpeg 2000": "jpeg2000"}
        folders = {"noise": "awgn", "blur": "blur", "jpeg 2000": "jpeg2000"}
        rows: list[list[object]] = [[None] * 9, [None, "CSIQ", *[None] * 7]]
        rows.append([None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"])
        for seed, image in enumerate((1600, "lady")):
            self.image(self.root / "src_imgs" / f"{image}.png", seed)
            for index, (kind, token) in enumerate(tokens.items()):
                for level in (1, 2):
                    amount = level / 4 + index / 100 + seed / 1000
                    self.image(self.root / "dst_imgs" / folders[kind] / f"{image}.{token}.{level}.png", seed, amount)
                    rows.append([None, None, None, image, index + 1, kind, level, 0.1, amount])
        rows.append([None] * 9)
        # One that nobody judged, as in the authors' archive.
        self.image(self.root / "dst_imgs" / "awgn" / "lady.AWGN.3.png", 1, 0.9)
        if table == "csv":
            with (self.root / "csiq.DMOS.csv").open("w", newline="") as file:
                csv.writer(file).writerows(rows)
            return self.root
        openpyxl = pytest.importorskip("openpyxl", reason="extra 'judge'")
        book = openpyxl.Workbook()
        book.active.title = "by_type"
        sheet = book.create_sheet("all_by_image")
        for row in rows:
            sheet.append(row)
        book.save(self.root / "csiq.DMOS.xlsx")
        book.close()
        return self.root

    def live(self, counts: Mapping[str, int], *, realigned: bool = False) -> Path:
        """The first image of each folder is an original."""
        io = pytest.importorskip("scipy.io", reason="extra 'judge'")
        names, scores, originals = [], [], []
        for seed, name in enumerate(("bikes.bmp", "woman.bmp")):
            self.image(self.root / "refimgs" / name, seed)
        for kind, count in counts.items():
            for number in range(1, count + 1):
                seed = number % 2
                original = number == 1
                amount = 0.0 if original else number / (2 * count)
                self.image(self.root / kind / f"img{number}.bmp", seed, amount)
                names.append(("bikes.bmp", "woman.bmp")[seed])
                scores.append(100 * amount)
                originals.append(int(original))
            (self.root / kind / "info.txt").write_text("bikes.bmp img2.bmp 0.5\n")
        cells = np.empty((1, len(names)), dtype=object)
        cells[0] = names
        io.savemat(self.root / "refnames_all.mat", {"refnames_all": cells})
        flags = np.array([originals], dtype=np.uint8)
        io.savemat(self.root / "dmos.mat", {"dmos": np.array([scores]), "orgs": flags})
        if realigned:
            values = {"dmos_new": np.array([scores]) + 1, "dmos_std": np.array([scores]), "orgs": flags}
            io.savemat(self.root / "dmos_realigned.mat", values)
        return self.root

    def pipal(self, *, archives: bool = False, references: int = 3) -> Path:
        (self.root / "Train_Label").mkdir()
        for i in range(1, references + 1):
            self.image(self.root / "Train_Ref" / f"A{i:04d}.bmp", i)
            place = self.root / (f"Distortion_{1 + i % 4}/Distortion_{1 + i % 4}" if archives else "Train_Dist")
            lines = []
            for kind in (0, 6):
                for level in (0, 1):
                    amount = (1 + level) / 4 + kind / 100 + i / 1000
                    name = f"A{i:04d}_{kind:02d}_{level:02d}.bmp"
                    self.image(place / name, i, amount)
                    lines.append(f"{name},{1600 - 400 * amount:.4f}")
            (self.root / "Train_Label" / f"A{i:04d}.txt").write_text("\n".join(lines) + "\n")
        return self.root


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Writes datasets into a folder of the test's."""
    root = tmp_path / "data"
    root.mkdir()
    return Maker(root)
