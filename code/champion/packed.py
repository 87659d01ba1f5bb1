"""The images and ImageNet's weights in one folder, and what is known of each image."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from doctor_derma.atomic import replacing_file
from doctor_derma.cpus import usable_cpus
from doctor_derma.images.decoding import decode
from doctor_derma.models.networks import create_network
from doctor_derma.training.folds import assign_folds

SIZE = (144, 192)
# Of the pictures over that of their pixels, which are kept in the pictures' own shape.
ASPECT_RATIO = 4 / 3
FOLDS = 5
BACKBONE = "efficientnet_lite0"


class PackedImages:
    """The packed images in the manifest's order.

    Attributes
    ----------
    table : name, lesion, class, split and source of each
    classes : names of the K classes
    pixels : uint8 (n, 144, 192, 3)
    labels : place of its class among ``classes``, int64 (n,)
    folds : 0 to 4, -1 for the test split, int64 (n,); a lesion is in one fold as a whole
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.table = pd.read_csv(folder / "images.csv", keep_default_na=False)
        self.classes = sorted(self.table["class"].unique())
        self.labels = np.array([self.classes.index(name) for name in self.table["class"]])
        self.pixels = torch.from_numpy(np.load(decode_once(folder))).to(device)
        self.folds = np.full(len(self.labels), -1)
        rows = np.flatnonzero(self.table["split"] != "test")
        known = self.table.iloc[rows]
        self.folds[rows] = assign_folds(list(known["class"]), list(known["lesion"]), FOLDS, seed=0)

    def known(self, left_out: str) -> np.ndarray:
        """Say of each image whether a network may learn from it; never those of the test split.

        ``left_out`` names what the network never sees: ``fold:2`` or ``source:rosendahl``, empty
        for nothing.
        """
        kind, _, value = left_out.partition(":")
        kept = self.folds >= 0
        if kind == "fold":
            kept &= self.folds != int(value)
        elif kind == "source":
            kept &= (self.table["source"] != value).to_numpy()
        return kept


def decode_once(folder: Path) -> Path:
    """Decode the packed images into ``pixels.npy``, unless that is there."""
    path = folder / "pixels.npy"
    if not path.is_file():
        with zipfile.ZipFile(folder / "images.zip") as archive:
            encoded = [archive.read(name) for name in archive.namelist()]
        with ThreadPoolExecutor(usable_cpus()) as pool:
            found = list(pool.map(lambda one: decode(one, *SIZE).pixels, encoded))
        with replacing_file(path) as scratch:
            np.save(scratch, np.stack(found))
    return path


def pack(folder: Path, root: Path) -> None:
    """Put the encoded images, their table and ImageNet's weights into one folder.

    The weights are in half precision: a network starts with them to three digits, and the folder
    stays small enough for a slow connection.
    """
    from doctor_derma.data.manifest import read_dataset

    dataset = read_dataset(root / "data")
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["image", "lesion", "class", "split", "source"]
    dataset.table[columns].to_csv(folder / "images.csv", index=False)
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_STORED) as archive:
        for index, path in enumerate(dataset.table["path"]):
            archive.writestr(f"{index:05}", (dataset.folder / path).read_bytes())
    plain = create_network(BACKBONE, 2, pretrained=True)
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in plain.backbone.state_dict().items()
    }
    save_file(halves, folder / "imagenet.safetensors")
