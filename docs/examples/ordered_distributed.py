"""As ordered_sampler.py, for ranks that read one mount, each with an order of its own (64 at most):

    torchrun --nproc_per_node 2 ordered_distributed.py /mnt/data
"""

import os

from torch.utils.data import DataLoader, DistributedSampler

from file_dataset import Files, options, read
from ordered_sampler import give_order


class OrderedDistributedSampler(DistributedSampler):
    """As DistributedSampler. `paths`: of the files, in the order of the data set's indices."""

    def __init__(self, dataset, paths, mount, **rest):
        super().__init__(dataset, **rest)
        self.paths, self.mount = paths, mount

    def __iter__(self):
        order = list(super().__iter__())
        # This epoch alone: what is this rank's in the next is another's now.
        give_order(self.mount, [self.paths[index] for index in order], f"order.rank{self.rank}")
        return iter(order)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--rank", type=int, default=int(os.environ.get("RANK", 0)))
    parser.add_argument("--ranks", type=int, default=int(os.environ.get("WORLD_SIZE", 1)))
    told = parser.parse_args()
    files = Files(told.mount)
    sampler = OrderedDistributedSampler(
        files, files.paths, told.mount, num_replicas=told.ranks, rank=told.rank)
    loader = DataLoader(files, batch_size=32, sampler=sampler, num_workers=told.workers)
    read(loader, sampler, told.epochs, f"rank {told.rank}, ")
