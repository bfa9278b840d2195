"""Like ordered_sampler.py, for ranks that read one mount, each with its own order (at most 64):

    torchrun --nproc_per_node 2 ordered_distributed.py /mnt/data
"""

import os

from torch.utils.data import DataLoader, DistributedSampler

from file_dataset import Files, options, read
from ordered_sampler import give_order


class OrderedDistributedSampler(DistributedSampler):
    """A DistributedSampler. `paths`: the files, in the order of the data set's indices."""

    def __init__(self, dataset, paths, mount, **rest):
        super().__init__(dataset, **rest)
        self.paths, self.mount = paths, mount

    def __iter__(self):
        order = list(super().__iter__())
        # This epoch only: files of this rank's next epoch are read by other ranks in this one.
        give_order(self.mount, [self.paths[index] for index in order], f"order.rank{self.rank}")
        return iter(order)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--rank", type=int, default=int(os.environ.get("RANK", 0)))
    parser.add_argument("--ranks", type=int, default=int(os.environ.get("WORLD_SIZE", 1)))
    arguments = parser.parse_args()
    files = Files(arguments.mount)
    sampler = OrderedDistributedSampler(
        files, files.paths, arguments.mount, num_replicas=arguments.ranks, rank=arguments.rank)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=arguments.workers)
    read(loader, sampler, arguments.epochs, f"rank {arguments.rank}, ")
