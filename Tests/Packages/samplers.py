"""samplers.py MOUNT: the samplers of millrace.torch, in a loop that reads a mount of four files."""
import sys

from torch.utils.data import DataLoader

import millrace
from millrace.torch import Files, OrderedDistributedSampler, OrderedSampler

place = sys.argv[1]
files = Files(place, transform=len)
assert len(files) == 4, files.paths
mount = millrace.Mount(place)


def orders():
    return {one["name"]: one["files"] for one in mount.stats()["orders"]}


sampler = OrderedSampler(files.paths, place, epochs=2)
loader = DataLoader(files, batch_size=2, sampler=sampler, num_workers=1)
epochs = []
for epoch in range(2):
    sampler.set_epoch(epoch)
    epochs.append(list(sampler))
    assert orders()[""] == (8 if epoch == 0 else 4), orders()
    assert sum(batch.sum().item() for batch in loader) == 4 * 3_000_000
assert sorted(epochs[0]) == sorted(epochs[1]) == [0, 1, 2, 3]

parts = []
for rank in range(2):
    sampler = OrderedDistributedSampler(files, files.paths, place, num_replicas=2, rank=rank)
    sampler.set_epoch(1)
    parts += list(sampler)
    assert orders()[f"rank{rank}"] == 2, orders()
assert sorted(parts) == [0, 1, 2, 3]
print("samplers: right")
