"""profile.py MILLRACE: what a read of 128 KiB costs the daemon where the bytes are at hand, without passthrough.

Instructions outside the kernel, by valgrind's callgrind: the difference of two runs, one of which
reads three times as much. Then the ten symbols in which perf finds the daemon most; reference
counting among them is a failure. Needs valgrind, perf and root. Prints Markdown.
"""

import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

PIECE = 128 << 10
SIZE = 64 << 20
program = os.path.abspath(sys.argv[1])
base = tempfile.mkdtemp(prefix="millrace-profile-")
source, mount = base + "/source", base + "/mount"


def read_all(times):
    """O_DIRECT: each read is one request."""
    file = os.open(mount + "/a", os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, PIECE)
    for _ in range(times):
        for offset in range(0, SIZE, PIECE):
            assert os.preadv(file, [buffer], offset) == PIECE
    os.close(file)


def daemon(cache, *before):
    command = [*before, program, "mount", "file://" + source, mount, "--foreground", "--no-passthrough"]
    command += ["--cache-dir", cache, "--memory-limit", "256M"]
    # Valgrind does not know openat2, by which links are confined to the source.
    command += ["--follow-links"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not os.path.ismount(mount):
        if child.poll() is not None or time.monotonic() > until:
            child.kill()
            sys.exit("no mount: " + child.stderr.read())
        time.sleep(0.1)
    return child


def end(child):
    subprocess.run(["umount", mount], check=True)
    return child.communicate(timeout=60)[1]


def instructions(cache, times):
    child = daemon(cache, "valgrind", "--tool=callgrind", f"--callgrind-out-file={base}/callgrind")
    try:
        read_all(times)
    finally:
        said = end(child)
    return int(re.search(r"Collected : (\d+)", said)[1])


def top_ten(cache):
    child = daemon(cache)
    try:
        read_all(1)
        data = base + "/perf"
        record = subprocess.Popen(["perf", "record", "-q", "-o", data, "-p", str(child.pid)])
        time.sleep(0.5)
        read_all(40)
        record.terminate()
        record.wait()
    finally:
        end(child)
    report = ["perf", "report", "-i", data, "--stdio", "--sort", "symbol", "--percent-limit", "0"]
    text = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    lines = [" ".join(line.split()) for line in text.splitlines() if "%" in line and line[0] != "#"]
    return lines[:10]


def main():
    global program
    os.mkdir(source)
    os.mkdir(mount)
    with open(source + "/a", "wb") as file:
        file.write(os.urandom(SIZE))
    # valgrind cannot read Swift's debug sections.
    subprocess.run(["strip", "--strip-debug", "-o", base + "/millrace", program], check=True)
    program = base + "/millrace"
    failed = False
    for name, cache in [("memory", "none"), ("disk, in the page cache", base + "/cache")]:
        instructions(cache, 1)  # Fills a cache on disk, so that the next two begin alike.
        cost = (instructions(cache, 3) - instructions(cache, 1)) / (2 * SIZE / PIECE)
        print(f"{name}: {cost:.0f} instructions for a read of 128 KiB, the kernel's not counted\n")
        lines = top_ten(cache)
        print("\n".join("    " + line for line in lines) + "\n")
        failed |= not lines or any("swift_retain" in line or "swift_release" in line for line in lines)
    if failed:
        sys.exit("reference counting is among the ten costliest symbols, or nothing was recorded")


try:
    main()
finally:
    shutil.rmtree(base)
