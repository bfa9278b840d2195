"""The loop of a training run, with a sleep as accelerator: what `make bench-training` times.

    training.py make SHAPE FOLDER FILES [SEED]   files as that shape has them
    training.py serve SHAPE COMMANDS             loads PyTorch, says "ready", then a line of JSON for each
                                                 run that the named pipe COMMANDS asks for

A run: {"data": FOLDER, "since": SECONDS of the monotonic clock from which the first epoch counts, "epochs": N,
"workers": N, "order": none | epoch | next (this epoch's; this and the next one's), "seed": N}. The answer is a
line for each epoch, "epoch seconds=3.1 busy=0.9 ...": its seconds, the shares of them that the accelerator was busy
and that the loop waited for data, and the same without the first step; then "done".
"""

import errno
import json
import os
import random
import struct
import sys
import time
import zlib

RECORD = 114_660


class Shape:
    """How many files, how they are read, how long a step takes."""

    def __init__(self, size, batch, step, kind="file", spread=0, classes=20):
        self.size, self.batch, self.step = size, batch, step
        self.kind, self.spread, self.classes = kind, spread, classes


SHAPES = {
    "files": Shape(110_000, 50, 0.060),
    # MLPerf Storage's, smaller: unet3d and cosmoflow in bytes (1/16, 1/8).
    "unet3d": Shape(9_200_000, 7, 0.323, kind="npz", spread=4_300_000, classes=1),
    "resnet50": Shape(RECORD * 800, 400, 0.224, kind="tfrecord", classes=1),
    "cosmoflow": Shape(353_000, 1, 0.0035, classes=1),
    "retinanet": Shape(323_000, 24, 0.0476, classes=1),
}


def make(name, folder, files, seed):
    import numpy

    shape = SHAPES[name]
    generator = numpy.random.default_rng(seed)
    for index in range(files):
        size = shape.size
        if shape.spread:
            size = max(1_000_000, int(generator.normal(shape.size, shape.spread)))
        place = os.path.join(folder, f"class-{index % shape.classes:03}")
        os.makedirs(place, exist_ok=True)
        path = os.path.join(place, f"{index:06}.{shape.kind}")
        content = generator.integers(0, 256, size, dtype=numpy.uint8)
        if shape.kind == "npz":
            with open(path, "wb") as file:
                numpy.savez(file, x=content, y=numpy.int64(index))
            continue
        with open(path, "wb") as file:
            if shape.kind == "tfrecord":
                for record in content.reshape(-1, RECORD):
                    head = struct.pack("<Q", RECORD)
                    file.write(head + struct.pack("<I", zlib.crc32(head)))
                    file.write(record.tobytes() + struct.pack("<I", 0))
            else:
                file.write(content.tobytes())


def paths_of(folder):
    """Every file below a folder, as a data set finds them: names, and no attributes."""
    found = []
    for place in sorted(entry.path for entry in os.scandir(folder) if entry.is_dir()):
        found += sorted(entry.path for entry in os.scandir(place))
    return found


def shuffled(count, seed, epoch):
    order = list(range(count))
    random.Random(seed * 1000 + epoch).shuffle(order)
    return order


def give_order(folder, paths, orders):
    with open(os.path.join(folder, ".millrace", "order"), "w") as file:
        for order in orders:
            file.writelines(os.path.relpath(paths[index], folder) + "\n" for index in order)


def loaders():
    """The data sets; made here so that `make` needs no PyTorch."""
    import numpy
    import torch
    from torch.utils import data

    class Files(data.Dataset):
        def __init__(self, paths, kind):
            self.paths, self.kind = paths, kind

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            while True:
                try:
                    return self.read(index)
                except OSError as error:
                    # Where the page cache is held by a cgroup of version 1, a read(2) that comes while the limit is
                    # too low for a moment fails so.
                    if error.errno != errno.ENOMEM:
                        raise
                    time.sleep(0.001)

        def read(self, index):
            if self.kind == "npz":
                with numpy.load(self.paths[index]) as archive:
                    return torch.from_numpy(archive["x"])
            with open(self.paths[index], "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                content = torch.empty(size, dtype=torch.uint8)
                assert file.readinto(content.numpy()) == size
            return content

    class Records(data.IterableDataset):
        """Samples of whole files, streamed; the files are shared out among the workers."""

        def __init__(self, paths):
            self.paths, self.order = paths, []

        def __iter__(self):
            me = data.get_worker_info()
            for index in self.order[me.id :: me.num_workers]:
                with open(self.paths[index], "rb", buffering=256 << 10) as file:
                    while head := file.read(12):
                        (size,) = struct.unpack_from("<Q", head)
                        content = torch.frombuffer(bytearray(file.read(size)), dtype=torch.uint8)
                        file.read(4)
                        yield content

    return Files, Records


class Run:
    def __init__(self, shape, wanted):
        import torch
        from torch.utils import data

        self.shape, self.wanted, self.folder = shape, wanted, wanted["data"]
        self.paths = paths_of(self.folder)
        files, records = loaders()
        options = dict(
            batch_size=shape.batch, num_workers=wanted["workers"], collate_fn=torch.cat)
        if shape.kind == "tfrecord":
            self.set = records(self.paths)
            self.loader = lambda order: data.DataLoader(self.set, **options)
        else:
            self.set = files(self.paths, shape.kind)
            self.loader = lambda order: data.DataLoader(self.set, sampler=order, **options)

    def epoch(self, number, since):
        count, seed = len(self.paths), self.wanted["seed"]
        order = shuffled(count, seed, number)
        how = self.wanted["order"]
        if how != "none":
            after = [shuffled(count, seed, number + 1)] if how == "next" else []
            give_order(self.folder, self.paths, [order] + after)
        if self.shape.kind == "tfrecord":
            self.set.order = order
        begin = since or time.monotonic()
        steps, size, waiting, first, first_waiting = 0, 0, 0.0, 0.0, 0.0
        batches = iter(self.loader(order))
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            waited = time.monotonic() - asked
            waiting += waited
            if batch is None:
                break
            size += batch.numel()
            del batch
            time.sleep(self.shape.step)
            steps += 1
            if steps == 1:
                first, first_waiting = time.monotonic() - begin, waited
        seconds = time.monotonic() - begin
        return {
            "seconds": seconds, "busy": steps * self.shape.step / seconds, "waiting": waiting / seconds,
            "utilisation": (steps - 1) * self.shape.step / (seconds - first),
            "laterWaiting": (waiting - first_waiting) / (seconds - first),
            "steps": steps, "bytes": size, "firstStep": first,
        }


def serve(name, commands):
    import torch

    torch.set_num_threads(1)
    loaders()
    print("ready", flush=True)
    # Open for writing too, so that it does not end with the first that is written to it.
    with open(os.open(commands, os.O_RDWR)) as lines:
        for line in iter(lines.readline, ""):
            wanted = json.loads(line)
            run = Run(SHAPES[name], wanted)
            for number in range(wanted["epochs"]):
                answer = run.epoch(number, wanted["since"] if number == 0 else None)
                print("epoch", *(f"{name}={value}" for name, value in answer.items()), flush=True)
            print("done", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3], int(sys.argv[4]), int((sys.argv[5:] or ["1"])[0]))
    else:
        serve(*sys.argv[2:4])
