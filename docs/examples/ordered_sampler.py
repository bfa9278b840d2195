"""Tells a mount of Millrace the order of each epoch: python ordered_sampler.py /mnt/data"""

import os

import torch
from torch.utils.data import DataLoader, Sampler

from file_dataset import Files, options, read


def give_order(mount, paths, name="order"):
    """A path a line, relative to the mount; at most 4 Mi of them. It replaces the last of its name."""
    with open(os.path.join(mount, ".millrace", name), "wb") as file:
        file.write(os.fsencode("".join(path + "\n" for path in paths[: 4 << 20])))


class OrderedSampler(Sampler):
    """Shuffles by seed and epoch. `paths`: of the files, in the order of the data set's indices."""

    def __init__(self, paths, mount, epochs, seed=0):
        self.paths, self.mount, self.epochs, self.seed, self.epoch = paths, mount, epochs, seed, 0

    def set_epoch(self, epoch):
        """Before each epoch, or every epoch has the order of the first."""
        self.epoch = epoch

    def shuffled(self, epoch):
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(len(self.paths), generator=generator).tolist()

    def __iter__(self):
        order = self.shuffled(self.epoch)
        # The next epoch behind it: a cache smaller than the data then evicts what is read again last.
        after = self.shuffled(self.epoch + 1) if self.epoch + 1 < self.epochs else []
        give_order(self.mount, [self.paths[index] for index in order + after])
        return iter(order)

    def __len__(self):
        return len(self.paths)


if __name__ == "__main__":
    told = options(__doc__).parse_args()
    files = Files(told.mount)
    sampler = OrderedSampler(files.paths, told.mount, told.epochs)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=told.workers)
    read(loader, sampler, told.epochs)
