"""Samplers for PyTorch that submit the access order of each epoch to a mount, and a data set of its files.

    from millrace.torch import Files, OrderedSampler

    files = Files("/mnt/data")
    sampler = OrderedSampler(files.paths, "/mnt/data", epochs=90)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=8)
    for epoch in range(90):
        sampler.set_epoch(epoch)
        for batch in loader: ...

Orders are written to the mount's control directory, so this works in a container that has only the mount. docs/examples
of the project has the same code as programs to copy.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Iterator, Optional, Sequence

import torch
from torch.utils.data import Dataset, DistributedSampler, Sampler

LINES = 4 << 20
"""The longest access order, in files."""


def submit(mount: str, paths: Sequence[str], name: str = "") -> None:
    """Submits an access order: one path per line, relative to the mount. It replaces the order of this name. Raises
    FileNotFoundError if none of the first 1,000 paths exists."""
    place = os.path.join(mount, ".millrace", "order" + ("." + name if name else ""))
    with open(place, "wb") as file:
        file.write(os.fsencode("".join(path + "\n" for path in paths[:LINES])))


class OrderedSampler(Sampler):
    """Shuffles by seed and epoch. `paths`: the files, in the order of the data set's indices; `epochs`: how many there
    will be."""

    def __init__(self, paths: Sequence[str], mount: str, epochs: int, seed: int = 0):
        self.paths, self.mount, self.epochs, self.seed, self.epoch = paths, mount, epochs, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Call it before each epoch; otherwise every epoch has the order of the first."""
        self.epoch = epoch

    def shuffled(self, epoch: int) -> list[int]:
        """The indices of an epoch."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(len(self.paths), generator=generator).tolist()

    def __iter__(self) -> Iterator[int]:
        order = self.shuffled(self.epoch)
        # Then the next epoch: a cache smaller than the data set evicts what is needed last.
        after = self.shuffled(self.epoch + 1) if self.epoch + 1 < self.epochs else []
        submit(self.mount, [self.paths[index] for index in order + after])
        return iter(order)

    def __len__(self) -> int:
        return len(self.paths)


class OrderedDistributedSampler(DistributedSampler):
    """A DistributedSampler for ranks that read one mount, each with an order of its own (at most 64). `paths`: the
    files, in the order of the data set's indices; `rest`: the arguments of DistributedSampler."""

    def __init__(self, dataset: Dataset, paths: Sequence[str], mount: str, **rest: Any):
        super().__init__(dataset, **rest)
        self.paths, self.mount = paths, mount

    def __iter__(self) -> Iterator[int]:
        order = list(super().__iter__())
        # This epoch only: files of this rank's next epoch are read by other ranks in this one.
        submit(self.mount, [self.paths[index] for index in order], f"rank{self.rank}")
        return iter(order)


class Files(Dataset):
    """Every file below a directory. A sample is its content, or what `transform` makes of the content."""

    def __init__(self, directory: str, transform: Optional[Callable[[bytes], Any]] = None):
        self.directory, self.transform = directory, transform
        found = (os.path.join(parent, name) for parent, _, names in os.walk(directory) for name in names)
        self.paths = sorted(os.path.relpath(path, directory) for path in found)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        with open(os.path.join(self.directory, self.paths[index]), "rb") as file:
            content = file.read()
        return content if self.transform is None else self.transform(content)
