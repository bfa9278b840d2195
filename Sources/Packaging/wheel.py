#!/usr/bin/env python3
"""wheel.py PROGRAM VERSION FOLDER FILE...: makes a wheel of the Python module, the program and the notices FILE...,
and prints its path. It is for this machine alone; auditwheel then adds the libraries and says for which glibc.

The same input gives the same bytes: names are sorted, and the time is SOURCE_DATE_EPOCH.
"""
import base64
import hashlib
import os
import sys
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODULE = os.path.join(HERE, "..", "PythonModule", "millrace")
TAG = "py3-none-linux_x86_64"


def metadata(version: str) -> str:
    """PKG-INFO, with docs/install.md's section on the wheel as its description."""
    return f"""Metadata-Version: 2.1
Name: millrace
Version: {version}
Summary: Mounts S3 buckets, web sites and Hugging Face repositories as directories, with a cache, for training
License: Apache-2.0
License-File: LICENSE
Classifier: Operating System :: POSIX :: Linux
Classifier: Environment :: Console
Classifier: Topic :: System :: Filesystems
Requires-Python: >=3.9
Provides-Extra: torch
Requires-Dist: torch; extra == "torch"
Description-Content-Type: text/markdown

Millrace mounts an S3 bucket, a web site or a Hugging Face repository as a directory on Linux, and caches it on the
node's own disk.

    pip install millrace
    millrace mount s3://bucket/train ~/data
    millrace unmount ~/data

It needs x86-64 Linux with glibc 2.34 or newer, `/dev/fuse`, and `fusermount3` (package fuse3) unless you are root;
`millrace doctor` checks them. In Python:

    import millrace
    millrace.Mount("~/data").warm("train").wait(progress=print)
"""


def contents(program: str, version: str, notices: list[str]) -> dict[str, tuple[bytes, int]]:
    """Name in the wheel to bytes and mode."""
    info = f"millrace-{version}.dist-info"
    found: dict[str, tuple[bytes, int]] = {}
    for name in sorted(os.listdir(MODULE)):
        if name.endswith((".py", ".typed")):
            found[f"millrace/{name}"] = (read(os.path.join(MODULE, name)), 0o644)
    found["millrace/bin/millrace"] = (read(program), 0o755)
    for path in notices:
        found[f"{info}/licenses/{os.path.basename(path)}"] = (read(path), 0o644)
    found[f"{info}/METADATA"] = (metadata(version).encode(), 0o644)
    found[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: millrace\nRoot-Is-Purelib: false\nTag: {TAG}\n".encode(),
        0o644,
    )
    found[f"{info}/entry_points.txt"] = (b"[console_scripts]\nmillrace = millrace.program:main\n", 0o644)
    rows = [f"{name},{digest(content)},{len(content)}" for name, (content, _) in found.items()]
    found[f"{info}/RECORD"] = ("\n".join([*rows, f"{info}/RECORD,,"]).encode() + b"\n", 0o644)
    return found


def digest(content: bytes) -> str:
    """As RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def read(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def main() -> None:
    program, version, folder, *notices = sys.argv[1:]
    path = os.path.join(folder, f"millrace-{version}-{TAG}.whl")
    when = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), 315532800))[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (content, mode) in contents(program, version, notices).items():
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    print(path)


main()
