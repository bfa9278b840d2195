"""A data set of the files of a directory, and a loop over it, for the other examples."""

import argparse
import os

from torch.utils.data import Dataset


class Files(Dataset):
    """Every file below a directory; a sample is its size and the sum of its bytes."""

    def __init__(self, directory):
        self.directory = directory
        tree = os.walk(directory)
        found = [os.path.join(parent, name) for parent, _, names in tree for name in names]
        self.paths = sorted(os.path.relpath(path, directory) for path in found)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(os.path.join(self.directory, self.paths[index]), "rb") as file:
            content = file.read()
        return len(content), sum(content)


def options(description):
    """The arguments of the examples: MOUNT, and how often and by how many workers it is read."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("mount")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    return parser


def read(loader, sampler, epochs, title=""):
    """Reads all epochs and prints what was read. set_epoch gives each epoch its own shuffle."""
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        files = size = total = 0
        for sizes, sums in loader:
            files, size = files + len(sizes), size + sizes.sum().item()
            total += sums.sum().item()
        print(f"{title}epoch {epoch}: {files} files, {size} bytes, sum {total}", flush=True)
