"""Submits the access order of each epoch to a mount: python ordered_sampler.py /mnt/data"""

import os

import torch
from torch.utils.data import DataLoader, Sampler

from file_dataset import Files, options, read


def give_order(mount, paths, name="order"):
    """One path per line, relative to the mount, at most 4 Mi. Replaces the order of this name."""
    with open(os.path.join(mount, ".millrace", name), "wb") as file:
        file.write(os.fsencode("".join(path + "\n" for path in paths[: 4 << 20])))


class OrderedSampler(Sampler):
    """Shuffles by seed and epoch. `paths`: the files, in the order of the data set's indices."""

    def __init__(self, paths, mount, epochs, seed=0):
        self.paths, self.mount, self.epochs, self.seed, self.epoch = paths, mount, epochs, seed, 0

    def set_epoch(self, epoch):
        """Call it before each epoch; otherwise every epoch has the order of the first."""
        self.epoch = epoch

    def shuffled(self, epoch):
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(len(self.paths), generator=generator).tolist()

    def __iter__(self):
        order = self.shuffled(self.epoch)
        # Then the next epoch: a cache smaller than the data set evicts what is needed last.
        after = self.shuffled(self.epoch + 1) if self.epoch + 1 < self.epochs else []
        give_order(self.mount, [self.paths[index] for index in order + after])
        return iter(order)

    def __len__(self):
        return len(self.paths)


if __name__ == "__main__":
    arguments = options(__doc__).parse_args()
    files = Files(arguments.mount)
    sampler = OrderedSampler(files.paths, arguments.mount, arguments.epochs)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=arguments.workers)
    read(loader, sampler, arguments.epochs)
