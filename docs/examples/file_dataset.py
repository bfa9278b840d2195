"""A data set of the files of a folder, and a loop over it, for the examples beside this file."""

import argparse
import os

from torch.utils.data import Dataset


class Files(Dataset):
    """Every file of a folder; a sample is its size and the sum of its bytes."""

    def __init__(self, folder):
        self.folder = folder
        found = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
        self.paths = sorted(os.path.relpath(path, folder) for path in found)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(os.path.join(self.folder, self.paths[index]), "rb") as file:
            content = file.read()
        return len(content), sum(content)


def options(description):
    """MOUNT, and what the loop can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("mount")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    return parser


def read(loader, sampler, epochs, title=""):
    """Goes through the epochs, and says what it saw. set_epoch makes each another shuffle."""
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        files = size = total = 0
        for sizes, sums in loader:
            files, size, total = files + len(sizes), size + sizes.sum().item(), total + sums.sum().item()
        print(f"{title}epoch {epoch}: {files} files, {size} bytes, sum {total}", flush=True)
