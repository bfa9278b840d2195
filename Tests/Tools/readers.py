"""Readers of a mount, as programs have them.

    readers.py compare SOURCE MOUNT MODE READERS SEED   every name, size and byte; exit 1 and say which
                                                        differ. MODE: read, pread, mmap
    readers.py whole FILE READERS                       READERS threads, each reads the whole file
    readers.py share FOLDER READERS                     READERS threads read all files, each file once
    readers.py watch FILE OLD_SHA NEW_SHA GO DONE       opens FILE, reads its first half, makes the
                                                        file GO and waits for DONE, reads on; prints
                                                        old, new, stale (ESTALE) or mixed
"""

import errno
import hashlib
import mmap
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

BLOCK = 1 << 20


def names(folder):
    """Relative path -> size of every file, as bytes."""
    found = {}

    def fail(error):
        raise error

    for base, _, files in os.walk(folder, onerror=fail):
        for name in files:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder)] = os.stat(path).st_size
    return found


def read_through(path, _):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()


def read_by_position(path, chance):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        whole = bytearray(size)
        edges = [0, size]
        position = 0
        while position < size:
            position += chance.choice((1, 511, 4096, 65537, 131072, 300001, BLOCK + 3))
            edges.append(min(position, size))
        edges.sort()
        spans = [(a, b) for a, b in zip(edges, edges[1:]) if a < b]
        chance.shuffle(spans)
        for start, end in spans:
            got = os.pread(descriptor, end - start, start)
            if len(got) != end - start:
                raise OSError(f"short read of {len(got)} at {start}, not {end - start}")
            whole[start:end] = got
        if os.pread(descriptor, 10, size) != b"":
            raise OSError("bytes after the end")
        return hashlib.sha256(whole).digest()
    finally:
        os.close(descriptor)


def read_mapped(path, _):
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return hashlib.sha256(b"").digest()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
            return hashlib.sha256(mapping).digest()


MODES = {"read": read_through, "pread": read_by_position, "mmap": read_mapped}


def compare(source, mount, mode, readers, seed):
    source, mount = os.fsencode(source), os.fsencode(mount)
    expected, got = names(source), names(mount)
    trouble = [f"missing: {name!r}" for name in expected.keys() - got.keys()]
    trouble += [f"not in the source: {name!r}" for name in got.keys() - expected.keys()]
    common = sorted(expected.keys() & got.keys())
    trouble += [
        f"size: {name!r}: {got[name]}, not {expected[name]}" for name in common if got[name] != expected[name]
    ]
    chance = random.Random(int(seed))
    chance.shuffle(common)
    want = {name: read_through(os.path.join(source, name), None) for name in common}

    def check(number, name):
        try:
            digest = MODES[mode](os.path.join(mount, name), random.Random(f"{seed}-{number}"))
            return None if digest == want[name] else f"bytes differ: {name!r}"
        except OSError as error:
            return f"{name!r}: {error}"

    # Every reader reads every file, each in an order of its own.
    def reader(number):
        mine = list(common)
        random.Random(f"{seed}/{number}").shuffle(mine)
        return [problem for name in mine if (problem := check(number, name))]

    with ThreadPoolExecutor(int(readers)) as pool:
        for problems in pool.map(reader, range(int(readers))):
            trouble += problems
    if trouble:
        print(f"{mode}, {readers} readers, seed {seed}: {len(trouble)} differences")
        print("\n".join(trouble[:20]))
        sys.exit(1)
    print(f"{len(common)} files are the same")


def whole(path, readers):
    with ThreadPoolExecutor(int(readers)) as pool:
        sums = set(pool.map(lambda _: read_through(path, None), range(int(readers))))
    if len(sums) != 1:
        sys.exit(f"{readers} readers saw {len(sums)} different contents")
    print(sums.pop().hex())


def share(folder, readers):
    def discard(name):
        total = 0
        with open(os.path.join(folder, name), "rb", buffering=0) as file:
            while block := file.read(BLOCK):
                total += len(block)
        return total

    with ThreadPoolExecutor(int(readers)) as pool:
        print(sum(pool.map(discard, sorted(os.listdir(folder)))), "bytes")


def watch(path, old, new, go, done):
    descriptor = os.open(path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, size // 2, 0)
    open(go, "w").close()
    for _ in range(3000):
        if os.path.exists(done):
            break
        time.sleep(0.01)
    digest = hashlib.sha256(head)
    position = len(head)
    try:
        while block := os.pread(descriptor, BLOCK, position):
            digest.update(block)
            position += len(block)
    except OSError as error:
        print("stale" if error.errno == errno.ESTALE else f"errno {error.errno}")
        return
    print({old: "old", new: "new"}.get(digest.hexdigest(), "mixed"))


if __name__ == "__main__":
    commands = {"compare": compare, "whole": whole, "share": share, "watch": watch}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
