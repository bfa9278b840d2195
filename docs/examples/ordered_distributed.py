"""The same for several ranks that read one mount: each gives its own part of the epoch as an order.

    torchrun --nproc_per_node 2 ordered_distributed.py /mnt/data [--epochs 2] [--workers 2]
    python ordered_distributed.py /mnt/data --rank 0 --ranks 2       # and another with --rank 1
"""

import argparse
import os

from torch.utils.data import DataLoader, DistributedSampler

from ordered_sampler import Files, give_order, read


class OrderedDistributedSampler(DistributedSampler):
    """`paths`: of the data set's files, in the order of their indices. The rest as DistributedSampler's;
    num_replicas and rank come from torch.distributed where they are not given."""

    def __init__(self, dataset, paths, mount, **options):
        super().__init__(dataset, **options)
        self.paths, self.mount = paths, mount

    def __iter__(self):
        order = list(super().__iter__())
        # This epoch alone: what is this rank's in the next is another's now, and would count as read when
        # that one opens it. 64 orders may be in force at a mount.
        give_order(self.mount, [self.paths[index] for index in order], f"order.rank{self.rank}")
        return iter(order)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("mount")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rank", type=int, default=int(os.environ.get("RANK", 0)))
    options.add_argument("--ranks", type=int, default=int(os.environ.get("WORLD_SIZE", 1)))
    arguments = options.parse_args()
    files = Files(arguments.mount)
    sampler = OrderedDistributedSampler(
        files, files.paths, arguments.mount, num_replicas=arguments.ranks, rank=arguments.rank)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=arguments.workers)
    # set_epoch, before each epoch, makes it another shuffle, the same for all ranks.
    read(loader, sampler, arguments.epochs, f"rank {arguments.rank}, ")


if __name__ == "__main__":
    main()
