"""A sampler that tells a mount of Millrace the order of each epoch before it is read.

    python ordered_sampler.py /mnt/data [--epochs 2] [--workers 2]

OrderedSampler and give_order are what a training script needs; the rest shows that they work.
"""

import argparse
import os

import torch
from torch.utils.data import DataLoader, Dataset, Sampler


def give_order(mount, paths, name="order"):
    """One open, write, close is one order; it replaces the last of its name. A path a line, relative
    to the mount (or absolute, with the mount's path as `mount` prints it)."""
    with open(os.path.join(mount, ".millrace", name), "wb") as file:
        # 4,194,304 lines are the most: of a larger epoch its first part is ordered.
        file.write(os.fsencode("".join(path + "\n" for path in paths[: 4 << 20])))


class OrderedSampler(Sampler):
    """Shuffles by seed and epoch. `paths`: of the data set's files, in the order of their indices."""

    def __init__(self, paths, mount, epochs, seed=0):
        self.paths, self.mount, self.epochs, self.seed, self.epoch = paths, mount, epochs, seed, 0

    def set_epoch(self, epoch):
        """Call it before each epoch, or every epoch has the order of the first."""
        self.epoch = epoch

    def shuffled(self, epoch):
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(len(self.paths), generator=generator).tolist()

    def __iter__(self):
        order = self.shuffled(self.epoch)
        # The next epoch stands behind this one: a file may come twice in an order. So a cache that is
        # smaller than the data set evicts what is read again last.
        after = self.shuffled(self.epoch + 1) if self.epoch + 1 < self.epochs else []
        give_order(self.mount, [self.paths[index] for index in order + after])
        return iter(order)

    def __len__(self):
        return len(self.paths)


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


def read(loader, sampler, epochs, title=""):
    """Goes through the epochs, and says what it saw."""
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        files = size = total = 0
        for sizes, sums in loader:
            files, size, total = files + len(sizes), size + sizes.sum().item(), total + sums.sum().item()
        print(f"{title}epoch {epoch}: {files} files, {size} bytes, sum {total}", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("mount")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--workers", type=int, default=2)
    arguments = options.parse_args()
    files = Files(arguments.mount)
    sampler = OrderedSampler(files.paths, arguments.mount, arguments.epochs)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=arguments.workers)
    read(loader, sampler, arguments.epochs)


if __name__ == "__main__":
    main()
