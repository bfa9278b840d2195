"""The formats that training data comes in, written and read by the libraries that programs use.

    formats.py make FOLDER          writes one sub-folder a format, of random bytes that nothing compresses
    formats.py needs CASE FOLDER    prints what the case needs of those files, by the formats' own tables
    formats.py read CASE FOLDER     reads it through the library; exit 1 unless every value is right

`needs` counts distinct bytes: whole files where a case reads all of them; else the headers and footers that the
format makes a reader read, and the stretches of the file that hold the values read, to the byte. What a library
asks for beyond that (a look at the first bytes to guess the format, 64 KiB of a tail for a footer of 5) is not in
it, nor is rounding to pages. `pieces` is the same rounded out to 128 KiB, the unit in which a mount fetches.
"""

import json
import os
import struct
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np

MIB = 1 << 20
PIECE = 128 << 10


def numbers(seed, count, kind=np.float32):
    """So many values that follow from the seed: random bits, and no NaN, which equals nothing."""
    return np.random.default_rng(seed).integers(0, 1 << 31, count, dtype=np.uint32).astype(kind)


def noise(seed, size):
    return np.random.default_rng(seed).bytes(size)


def must(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def files(folder):
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


# Spans of a case: path -> [(start, end)].


def whole_files(paths):
    return {path: [(0, os.path.getsize(path))] for path in paths}


def total(spans, unit=1):
    """Distinct bytes, each span rounded out to `unit`."""
    count = 0
    for path, parts in spans.items():
        size = os.path.getsize(path)
        at = 0
        for start, end in sorted((a // unit * unit, min(size, -(-b // unit) * unit)) for a, b in parts):
            count += max(0, end - max(start, at))
            at = max(at, end)
    return count


# Small files.

SMALL = [20_000 + 997 * index % 180_000 for index in range(300)]


def make_small(folder):
    for index, size in enumerate(SMALL):
        with open(f"{folder}/{index:04}.bin", "wb") as file:
            file.write(noise(index, size))


def read_small(folder):
    def check(index):
        with open(f"{folder}/{index:04}.bin", "rb") as file:
            must(file.read() == noise(index, SMALL[index]), f"file {index}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(len(SMALL))))


# Tar shards, as WebDataset writes and streams them.

SHARDS, SAMPLES, SAMPLE = 2, 200, 114_660


def shard(folder, index):
    return f"{folder}/shard-{index:06}.tar"


def make_tar(folder):
    import webdataset

    for index in range(SHARDS):
        with webdataset.TarWriter(shard(folder, index)) as writer:
            for sample in range(SAMPLES):
                seed = index * SAMPLES + sample
                writer.write({"__key__": f"{seed:08}", "bin": noise(seed, SAMPLE), "cls": seed % 10})


def read_tar(folder):
    import webdataset

    shards = [shard(folder, index) for index in range(SHARDS)]
    count = 0
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        seed = int(sample["__key__"])
        must(seed == count and sample["bin"] == noise(seed, SAMPLE), f"sample {count}")
        must(int(sample["cls"]) == seed % 10, f"class {count}")
        count += 1
    must(count == SHARDS * SAMPLES, f"{count} samples")


# TFRecord.

RECORDS = 400


def make_tfrecord(folder):
    import tfrecord

    writer = tfrecord.TFRecordWriter(f"{folder}/train.tfrecord")
    for index in range(RECORDS):
        writer.write({"image": (noise(index, SAMPLE), "byte"), "label": (index, "int")})
    writer.close()


def read_tfrecord(folder):
    import tfrecord

    count = 0
    for record in tfrecord.tfrecord_loader(f"{folder}/train.tfrecord", None, {"image": "byte", "label": "int"}):
        must(int(record["label"][0]) == count, f"record {count}")
        must(bytes(record["image"]) == noise(count, SAMPLE), f"image {count}")
        count += 1
    must(count == RECORDS, f"{count} records")


# npz: a zip; its directory is at the tail.

ARRAYS, ARRAY = 6, 8 * MIB


def make_npz(folder):
    np.savez(f"{folder}/arrays.npz", **{f"a{index}": numbers(index, ARRAY // 4) for index in range(ARRAYS)})


def read_npz(folder, names):
    with np.load(f"{folder}/arrays.npz") as archive:
        for name in names:
            must(np.array_equal(archive[name], numbers(int(name[1:]), ARRAY // 4)), name)


def npz_spans(folder, names):
    path = f"{folder}/arrays.npz"
    with zipfile.ZipFile(path) as archive:
        spans = [(archive.start_dir, os.path.getsize(path))]
        for name in names:
            entry = archive.getinfo(f"{name}.npy")
            with open(path, "rb") as file:
                file.seek(entry.header_offset + 26)
                lengths = sum(struct.unpack("<HH", file.read(4)))
            spans.append((entry.header_offset, entry.header_offset + 30 + lengths + entry.compress_size))
    return {path: spans}


# Parquet and Arrow: columns, in groups of rows; what is where stands in the footer.

# As many rows in a group as pyarrow takes unless told, of 8 bytes each.
GROUPS, COLUMNS, ROWS = 3, 4, 1 << 20


def values(group, column):
    return numbers(group * COLUMNS + column, ROWS, np.float64)


def table(group):
    import pyarrow

    return pyarrow.table({f"c{column}": values(group, column) for column in range(COLUMNS)})


def footer(path, tail):
    """The span of a footer whose length stands `tail` bytes before the end."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        file.seek(size - tail)
        return size - tail - struct.unpack("<I", file.read(4))[0], size


def make_parquet(folder):
    from pyarrow import parquet

    with parquet.ParquetWriter(f"{folder}/t.parquet", table(0).schema, use_dictionary=False) as writer:
        for group in range(GROUPS):
            writer.write_table(table(group), row_group_size=ROWS)


def read_parquet(folder, columns):
    from pyarrow import parquet

    got = parquet.read_table(f"{folder}/t.parquet", columns=[f"c{index}" for index in columns])
    must(got.num_rows == GROUPS * ROWS and got.num_columns == len(columns), "its shape")
    for index in columns:
        column = got.column(f"c{index}").to_numpy()
        for group in range(GROUPS):
            part = column[group * ROWS : (group + 1) * ROWS]
            must(np.array_equal(part, values(group, index)), f"column {index}")


def parquet_spans(folder, columns):
    from pyarrow import parquet

    path = f"{folder}/t.parquet"
    about = parquet.read_metadata(path)
    spans = [footer(path, 8)]
    for group in range(GROUPS):
        for index in columns:
            chunk = about.row_group(group).column(index)
            spans.append((chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size))
    return {path: spans}


def make_arrow(folder):
    from pyarrow import ipc

    with ipc.new_file(f"{folder}/t.arrow", table(0).schema) as writer:
        for group in range(GROUPS):
            writer.write_table(table(group))


def read_arrow(folder, groups):
    import pyarrow
    from pyarrow import ipc

    with pyarrow.memory_map(f"{folder}/t.arrow") as source, ipc.open_file(source) as reader:
        for group in groups:
            batch = reader.get_batch(group)
            for index in range(COLUMNS):
                must(np.array_equal(batch.column(index).to_numpy(), values(group, index)), f"batch {group}")


def arrow_spans(folder, groups):
    import pyarrow
    from pyarrow import ipc

    path = f"{folder}/t.arrow"
    spans = [footer(path, 10)]
    with pyarrow.memory_map(path) as source, ipc.open_file(source) as reader:
        source.seek(0)
        base = source.read_buffer(1).address
        for group in groups:
            batch = reader.get_batch(group)
            for column in batch.columns:
                buffer = column.buffers()[1]
                spans.append((buffer.address - base, buffer.address - base + buffer.size))
    return {path: spans}


# HDF5.

WIDTH, HEIGHT, CHUNK = 4096, 3072, 256


def make_hdf5(folder):
    import h5py

    with h5py.File(f"{folder}/t.h5", "w") as file:
        rows = numbers(1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
        file.create_dataset("chunked", data=rows, chunks=(CHUNK, WIDTH))
        file.create_dataset("contiguous", data=rows[::-1])


def read_hdf5(folder, name, start, end):
    import h5py

    rows = numbers(1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    want = rows if name == "chunked" else rows[::-1]
    with h5py.File(f"{folder}/t.h5", "r") as file:
        must(np.array_equal(file[name][start:end], want[start:end]), name)


def hdf5_spans(folder, name, start, end):
    import h5py

    path = f"{folder}/t.h5"
    with h5py.File(path, "r") as file:
        data = file[name].id
        if name == "contiguous":
            spans = [(data.get_offset() + start * WIDTH * 4, data.get_offset() + end * WIDTH * 4)]
        else:
            chunks = [data.get_chunk_info(index) for index in range(data.get_num_chunks())]
            spans = [
                (chunk.byte_offset, chunk.byte_offset + chunk.size)
                for chunk in chunks
                if chunk.chunk_offset[0] < end and chunk.chunk_offset[0] + CHUNK > start
            ]
    return {path: spans}


# safetensors: mapped by several processes, as the ranks of a job load a model.

TENSORS, TENSOR, RANKS = 16, 8 * MIB, 4


def make_safetensors(folder):
    from safetensors.numpy import save_file

    tensors = {f"layer{index:02}": numbers(index, TENSOR // 4) for index in range(TENSORS)}
    save_file(tensors, f"{folder}/model.safetensors")


def load_tensors(arguments):
    from safetensors import safe_open

    folder, part = arguments
    with safe_open(f"{folder}/model.safetensors", framework="np") as model:
        for index in part:
            got = model.get_tensor(f"layer{index:02}")
            if not np.array_equal(got, numbers(index, TENSOR // 4)):
                return f"tensor {index}"
    return None


def read_safetensors(folder, tensors):
    share = -(-len(tensors) // RANKS)
    parts = [tensors[at : at + share] for at in range(0, len(tensors), share)]
    with get_context("spawn").Pool(RANKS) as pool:
        for trouble in pool.map(load_tensors, [(folder, part) for part in parts], chunksize=1):
            must(trouble is None, trouble)


def safetensors_spans(folder, tensors):
    path = f"{folder}/model.safetensors"
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
    spans = [(0, 8 + length)]
    for index in tensors:
        start, end = header[f"layer{index:02}"]["data_offsets"]
        spans.append((8 + length + start, 8 + length + end))
    return {path: spans}


MAKERS = {
    "small": make_small,
    "tar": make_tar,
    "tfrecord": make_tfrecord,
    "npz": make_npz,
    "parquet": make_parquet,
    "arrow": make_arrow,
    "hdf5": make_hdf5,
    "safetensors": make_safetensors,
}

# Case -> how it is read, what of its files it needs (none: all of them), and what of the format's parts it wants.
CASES = {
    "small": (read_small, None),
    "tar": (read_tar, None),
    "tfrecord": (read_tfrecord, None),
    "npz-one": (read_npz, npz_spans, ["a3"]),
    "npz-all": (read_npz, npz_spans, [f"a{index}" for index in range(ARRAYS)]),
    "parquet-columns": (read_parquet, parquet_spans, [0, 2]),
    "parquet-all": (read_parquet, parquet_spans, range(COLUMNS)),
    "arrow-batch": (read_arrow, arrow_spans, [1]),
    "arrow-all": (read_arrow, arrow_spans, range(GROUPS)),
    "hdf5-chunked": (read_hdf5, hdf5_spans, "chunked", 1100, 1900),
    "hdf5-contiguous": (read_hdf5, hdf5_spans, "contiguous", 500, 1500),
    "safetensors-part": (read_safetensors, safetensors_spans, range(6, 10)),
    "safetensors-all": (read_safetensors, safetensors_spans, range(TENSORS)),
}


def make(folder):
    for name, maker in MAKERS.items():
        os.makedirs(f"{folder}/{name}")
        maker(f"{folder}/{name}")


def needs(case, folder):
    folder = f"{folder}/{case.split('-')[0]}"
    _, spans, *wanted = CASES[case]
    found = spans(folder, *wanted) if spans else whole_files(files(folder))
    print(json.dumps({"needed": total(found), "pieces": total(found, PIECE)}))


def read(case, folder):
    reader, _, *wanted = CASES[case]
    reader(f"{folder}/{case.split('-')[0]}", *wanted)


if __name__ == "__main__":
    commands = {"make": make, "needs": needs, "read": read}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
