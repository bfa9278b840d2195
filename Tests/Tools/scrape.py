#!/usr/bin/env python3
"""What a scrape of a mount's metrics costs: latency and CPU, from its three places.

    python3 Tests/Tools/scrape.py .build/release/millrace [SCRAPES]

Mounts a directory of 200 files, reads them, and scrapes SCRAPES times (200 by default) from each place.
Prints the table of docs/performance.md.
"""

import glob
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time


class SocketConnection(http.client.HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def cpu_seconds(pid):
    """CPU time of all threads of a process."""
    return sum(
        int(open(path).read().split()[0]) / 1e9 for path in glob.glob(f"/proc/{pid}/task/*/schedstat")
    )


def get(connection, path):
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def measure(name, scrape, count, daemon, exporter=None):
    pids = [daemon, exporter] if exporter else [daemon]
    size = len(scrape())
    before = [cpu_seconds(pid) for pid in pids]
    times = []
    for _ in range(count):
        start = time.monotonic()
        scrape()
        times.append((time.monotonic() - start) * 1e3)
    used = [f"{(cpu_seconds(pid) - start) / count * 1e3:.1f} ms" for pid, start in zip(pids, before)]
    cells = [f"{size:,}", f"{statistics.median(times):.1f} ms"] + used + ["-"] * (2 - len(used))
    print(f"| {name} | {' | '.join(cells)} |")


def main(program, count=200):
    environment = dict(os.environ, MILLRACE_CACHE_DIR="none")
    with tempfile.TemporaryDirectory() as place:
        source, mount = place + "/data", place + "/mnt"
        os.mkdir(source)
        os.mkdir(mount)
        for number in range(200):
            with open(f"{source}/{number}", "wb") as file:
                file.write(os.urandom(10_000))
        subprocess.run(
            [program, "mount", "file://" + source, mount, "--cache-dir", place + "/cache"],
            check=True, stdout=subprocess.DEVNULL, env=environment)
        exporter = subprocess.Popen(
            [program, "exporter", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        try:
            port = int(exporter.stdout.readline().split(":")[2].split("/")[0])
            for number in range(200):
                with open(f"{mount}/{number}", "rb") as file:
                    file.read()
            listed = subprocess.run([program, "list", "--json"], check=True, capture_output=True).stdout
            entry = next(item for item in json.loads(listed) if item["mountPoint"] == os.path.realpath(mount))

            def from_mount():
                with open(mount + "/.millrace/metrics", "rb") as file:
                    return file.read()

            print("| from | bytes | median | CPU of the daemon | CPU of the exporter |")
            print("|---|---:|---:|---:|---:|")
            measure("`.millrace/metrics`", from_mount, count, entry["pid"])
            measure(
                "`/v1/metrics` on the socket",
                lambda: get(SocketConnection(entry["socket"]), "/v1/metrics"), count, entry["pid"])
            measure(
                "`millrace exporter`",
                lambda: get(http.client.HTTPConnection("127.0.0.1", port), "/metrics"), count,
                entry["pid"], exporter.pid)
        finally:
            exporter.terminate()
            exporter.wait()
            subprocess.run([program, "unmount", mount], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1], *[int(text) for text in sys.argv[2:]])
