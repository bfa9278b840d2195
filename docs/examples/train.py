"""Trains a small network on a directory of images, and prints what it waited for.

    python train.py --data DIRECTORY [--epochs 2] [--workers 4] [--millrace PATH_OF_THE_PROGRAM]

DIRECTORY has one directory of JPEG files for each class. A mount of Millrace is such a directory:
nothing below depends on it but the table after each epoch, which shows what `millrace stats`
counted. Without PyTorch the same files are read and decoded by as many processes, and nothing is
trained.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
import warnings

from PIL import Image

try:
    import numpy
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset
except ImportError:
    torch = None
    Dataset = object

# More workers than cores are intended here: they wait for data.
warnings.filterwarnings("ignore", message="This DataLoader will create")

SIDE = 64


def samples(directory):
    """(path, class number, bytes) of every image."""
    found = []
    classes = sorted(entry.path for entry in os.scandir(directory) if entry.is_dir())
    for number, path in enumerate(classes):
        with os.scandir(path) as entries:
            found += [(entry.path, number, entry.stat().st_size) for entry in entries]
    return sorted(found), len(classes)


def picture(path):
    with Image.open(path) as image:
        image.draft("RGB", (SIDE, SIDE))
        return image.convert("RGB").resize((SIDE, SIDE))


class Pictures(Dataset):
    def __init__(self, found):
        self.found = found

    def __len__(self):
        return len(self.found)

    def __getitem__(self, index):
        path, number, _ = self.found[index]
        pixels = torch.from_numpy(numpy.asarray(picture(path)).copy())
        return pixels.permute(2, 0, 1).float() / 255, number


def network(classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes),
    )


class Training:
    """Epochs over a DataLoader. Each returns (seconds, seconds spent waiting, a remark)."""

    def __init__(self, found, classes, arguments):
        torch.manual_seed(1)
        torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
        self.model = network(classes)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.loader = DataLoader(
            Pictures(found), batch_size=arguments.batch, shuffle=True, num_workers=arguments.workers)

    def epoch(self):
        begin = time.monotonic()
        waiting, total, right, seen = 0.0, 0.0, 0, 0
        batches = iter(self.loader)
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            waiting += time.monotonic() - asked
            if batch is None:
                break
            pixels, numbers = batch
            self.optimizer.zero_grad()
            scores = self.model(pixels)
            loss = nn.functional.cross_entropy(scores, numbers)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(numbers)
            right += (scores.argmax(1) == numbers).sum().item()
            seen += len(numbers)
        remark = f"loss {total / seen:.3f}, {100 * right / seen:.0f} % right"
        return time.monotonic() - begin, waiting, remark


def decode(sample):
    return len(picture(sample[0]).tobytes())


class Reading:
    """The fallback without PyTorch: the same files, decoded by several processes."""

    def __init__(self, found, _, arguments):
        self.found, self.workers = list(found), arguments.workers

    def epoch(self):
        import multiprocessing

        begin = time.monotonic()
        random.shuffle(self.found)
        with multiprocessing.Pool(self.workers) as pool:
            for _ in pool.imap_unordered(decode, self.found, chunksize=8):
                pass
        seconds = time.monotonic() - begin
        return seconds, seconds, "read and decoded only"


class Account:
    """Where the bytes were when they were read, by the difference of two `millrace stats`."""

    def __init__(self, program, mount):
        self.command = [program, "stats", mount, "--json"] if program else None
        self.last = self.ask()

    def ask(self):
        if not self.command:
            return {}
        numbers = {}

        def flatten(value):
            for name, inner in value.items():
                if isinstance(inner, dict):
                    flatten(inner)
                elif isinstance(inner, (int, float)):
                    numbers.setdefault(name.split(".")[-1], inner)

        flatten(json.loads(subprocess.run(self.command, check=True, capture_output=True).stdout))
        return numbers

    def lines(self):
        """Rows of a table for what was read since the last call."""
        if not self.command:
            return []
        now = self.ask()
        since = {name: now[name] - self.last.get(name, 0) for name in now}
        self.last = now
        # One rule for all rows: a byte counts for the place it was in when a worker read it. Files that the
        # kernel reads by passthrough count with their size.
        served = [
            ("kernel, from disk", since.get("passthroughBytes", 0), "passthrough: no daemon in between"),
            ("disk", since.get("bytesFromDisk", 0), "the cache directory"),
            ("memory", since.get("bytesFromMemory", 0), "prefetched, or read shortly before"),
            ("store", since.get("bytesFromStore", 0), "the worker waited for it"),
        ]
        total = max(1, sum(size for _, size, _ in served))
        return [
            f"    {'read from':20}{'MB':>8}{'share':>8}",
            *(
                f"    {place:20}{size / 1e6:>8.1f}{100 * size / total:>6.0f} %   {remark}"
                for place, size, remark in served
            ),
            f"    the store sent {since.get('bytesFetched', 0) / 1e6:.1f} MB"
            f" in {since.get('getRequests', 0)} GET, {since.get('listRequests', 0)} LIST",
        ]


def forget_pages(found):
    """Takes the files out of the kernel's page cache, as a data set larger than memory would be."""
    for path, _, _ in found:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", required=True)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--batch", type=int, default=50)
    options.add_argument("--millrace", help="the program, to show where bytes came from")
    options.add_argument("--times", help="a file that gets a line for each epoch: seconds, seconds waiting")
    options.add_argument("--forget-pages", action="store_true", help="empty the page cache between epochs")
    arguments = options.parse_args()

    found, classes = samples(arguments.data)
    if not found:
        sys.exit(f"no pictures under {arguments.data}")
    size = sum(sample[2] for sample in found)
    if torch is None:
        print("PyTorch is not installed (Debian: python3-torch): reading without training.")
    work = (Reading if torch is None else Training)(found, classes, arguments)
    account = Account(arguments.millrace, arguments.data)
    for epoch in range(1, arguments.epochs + 1):
        seconds, waiting, remark = work.epoch()
        print(
            f"epoch {epoch}: {seconds:6.1f} s, {100 * waiting / seconds:3.0f} % of it waiting for data,"
            f" {len(found)} files, {size / 1e6:.0f} MB; {remark}")
        if arguments.times:
            with open(arguments.times, "a") as times:
                print(f"{seconds:.2f} {waiting:.2f}", file=times)
        print(*account.lines(), sep="\n", end="\n\n", flush=True)
        if arguments.forget_pages and epoch < arguments.epochs:
            forget_pages(found)
            account.last = account.ask()


if __name__ == "__main__":
    main()
