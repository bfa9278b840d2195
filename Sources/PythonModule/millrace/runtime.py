"""Finds the control sockets of mounts by the records that their daemons leave in the runtime directory."""

from __future__ import annotations

import glob
import os
import stat
from typing import Iterator, NamedTuple, Optional


class Record(NamedTuple):
    """What a daemon says of itself: `<id>.mount` in its runtime directory."""

    pid: int
    start_time: str
    log: str
    mount_point: str
    owner: int
    socket: str


def directories(user: Optional[int]) -> list[str]:
    """Where the daemon of `user`, of this user or of root can have left its files."""
    found = []
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() != 0 and base.startswith("/"):
        found.append(base + "/millrace")
    for one in (user, os.geteuid(), 0):
        if one is not None:
            found += ["/run/millrace"] if one == 0 else [f"/run/user/{one}/millrace"]
            found.append(f"/tmp/millrace-{one}")
    return list(dict.fromkeys(found))


def identifier(mount_point: str) -> str:
    """FNV-1a, 64 bits, of the mount point: the name of its files."""
    value = 0xCBF29CE484222325
    for byte in os.fsencode(mount_point):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def find(mount_point: str, user: Optional[int]) -> Optional[Record]:
    """The record of the daemon that serves `mount_point`; `user`: who mounted it, where that is known."""
    name = identifier(mount_point) + ".mount"
    for directory in directories(user):
        record = read(os.path.join(directory, name), user)
        if record and record.mount_point == mount_point:
            return record
    return None


def all_records() -> Iterator[Record]:
    """The running mounts of this user; for root, those of all users."""
    places = directories(None)
    if os.geteuid() == 0:
        places += glob.glob("/run/user/*/millrace") + glob.glob("/tmp/millrace-*")
    for directory in dict.fromkeys(places):
        for path in sorted(glob.glob(glob.escape(directory) + "/*.mount")):
            # Root vouches for no user: the owner of the directory does.
            record = read(path, _owner(directory))
            if record:
                yield record


def read(path: str, user: Optional[int]) -> Optional[Record]:
    """The record in a file of root's, this user's or `user`'s that only its owner can write; None: there is none, or
    its process has ended."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(file)
        text = os.fsdecode(os.read(file, 9 << 10))
    except OSError:
        return None
    finally:
        os.close(file)
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022 or status.st_nlink != 1:
        return None
    lines = text.split("\n", 3)
    if status.st_uid not in (0, os.geteuid(), user) or len(lines) != 4 or not lines[0].isdigit():
        return None
    pid, start, log, mount_point = int(lines[0]), lines[1], lines[2], lines[3]
    if _start_time(pid) != start:
        return None
    socket = os.path.join(os.path.dirname(path), f"{identifier(mount_point)}.{pid}.sock")
    return Record(pid, start, log, mount_point, status.st_uid, socket)


def _owner(directory: str) -> Optional[int]:
    try:
        return os.stat(directory).st_uid
    except OSError:
        return None


def _start_time(pid: int) -> Optional[str]:
    """Field 22 of /proc/PID/stat: tells a process from a later one of its pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def mounted(path: str) -> Optional[tuple[str, Optional[int]]]:
    """The mount point of the Millrace mount that holds `path`, and who mounted it; None: there is none."""
    place = os.path.realpath(path)
    nearest, is_ours, user = "", False, ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            point, (kind, _, options) = _unescaped(before.split(" ")[4]), after.split(" ", 2)
            # The last one of several at a place is the one that is seen.
            if (place + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(nearest):
                nearest, is_ours = point, kind == "fuse.millrace"
                user = next((o[8:] for o in options.strip().split(",") if o.startswith("user_id=")), "")
    return (nearest, int(user) if user.isdigit() else None) if is_ours else None


def _unescaped(text: str) -> str:
    for escape, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(escape, character)
    return text
