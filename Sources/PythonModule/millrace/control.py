"""The client of a mount's control socket: HTTP with JSON on a unix socket, as docs/api.md describes it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import time
import urllib.parse
from typing import Any, Callable, Iterable, Optional, Union

from . import runtime

Path = Union[str, bytes, "os.PathLike[str]"]
Paths = Union[Path, Iterable[Path]]


class MillraceError(Exception):
    """A request that the daemon refused; the text is the daemon's. `status`: that of HTTP, 0 where there was none."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class NotMounted(MillraceError):
    """No daemon of Millrace serves that path, or not one that this user may control."""


class JobFailed(MillraceError):
    """A job that failed or was cancelled. `report`: its last state, with `failureList`."""

    def __init__(self, report: dict[str, Any]):
        failures = report.get("failureList", [])
        first = f"; {failures[0]['path'] or '.'}: {failures[0]['reason']}" if failures else ""
        super().__init__(f"{report['action']} {report['state']}, {report['failures']} failures{first}")
        self.report = report


class Mount:
    """A mount, found by any path in it. Each method is one request on a connection of its own, so a Mount can be used
    from several threads and after a fork."""

    def __init__(self, path: Path):
        """`path`: the mount point or anything below it. Raises NotMounted."""
        found = runtime.mounted(os.fsdecode(path))
        if found is None:
            raise NotMounted(f"{os.fsdecode(path)} is not on a mount of Millrace; millrace list shows them")
        self.path, user = found
        record = runtime.find(self.path, user)
        if record is None or not _can_connect(record.socket):
            raise NotMounted(
                f"no control socket of {self.path} can be used: the daemon has ended, or belongs to another user"
            )
        self.socket, self.pid, self._owner = record.socket, record.pid, record.owner

    def __repr__(self) -> str:
        return f"millrace.Mount({self.path!r})"

    def stats(self) -> dict[str, Any]:
        """The statistics: docs/api.md#statistics."""
        return self.call("GET", "stats")

    def warm(
        self, paths: Paths = "", *, jobs: Optional[int] = None, verify: bool = False, order: bool = False
    ) -> Job:
        """Loads files, and directories with everything below them, into the cache. `jobs`: files in flight, 1 to 256;
        `verify`: checks what is on disk too; `order`: the paths are an access order as well."""
        return self._job("warm", paths, jobs=jobs, verify=verify or None, order=order or None)

    def pin(self, paths: Paths) -> Job:
        """Excludes files from eviction, in this mount and later ones; fetches nothing."""
        return self._job("pin", paths)

    def unpin(self, paths: Paths) -> Job:
        """Allows eviction again."""
        return self._job("unpin", paths)

    def evict(self, paths: Paths) -> Job:
        """Removes files from disk and memory. Open and pinned ones count as failures."""
        return self._job("evict", paths)

    def du(self, paths: Paths = "") -> Job:
        """Counts what is in memory, on disk and pinned."""
        return self._job("du", paths)

    def jobs(self) -> list[Job]:
        """The running jobs and the most recent finished ones."""
        report = self.call("GET", "jobs")
        return [Job(self, one) for one in (report["jobs"] if isinstance(report, dict) else report)]

    def refresh(self, path: Path = "") -> int:
        """Drops the metadata below `path`; returns the number of listings that were dropped."""
        return self.call("POST", "refresh", {"path": self._relative(path)})["directories"]

    def update(self, path: Path = "") -> dict[str, Any]:
        """Lists again what was listed below `path`; returns what changed: docs/api.md#update."""
        return self.call("POST", "update", {"path": self._relative(path)}, timeout=3660)

    def order(self, paths: Iterable[Path], name: str = "") -> dict[str, Any]:
        """Submits the access order of this name: the files in the order in which they will be read. Returns how many
        of them exist: docs/api.md#orders. Raises MillraceError if none of the first 1,000 does."""
        lines = b"".join(os.fsencode(path) + b"\n" for path in paths)
        return self.call("POST", _order(name), body=lines or b"\n")

    def end_order(self, name: str = "") -> None:
        """Removes the access order of this name."""
        self.call("DELETE", _order(name))

    def call(
        self, method: str, route: str, query: Optional[dict[str, Any]] = None, body: Optional[bytes] = None,
        timeout: float = 60,
    ) -> Any:
        """One request of docs/api.md, `route` without /v1/. Raises MillraceError with the daemon's message, and
        NotMounted once the daemon has ended."""
        pairs = [(key, one) for key, value in (query or {}).items() for one in _list(value) if one is not None]
        target = f"/v1/{route}" + ("?" + urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote) if pairs else "")
        connection = _Connection(self.socket, timeout, {0, self._owner})
        try:
            connection.request(method, target, body, {"Content-Type": "text/plain"} if body is not None else {})
            response = connection.getresponse()
            content = response.read()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise NotMounted(f"the daemon of {self.path} has ended; after a remount, make a new Mount") from error
        finally:
            connection.close()
        try:
            report = json.loads(content)
        except ValueError as error:
            raise MillraceError(f"{self.socket}: not JSON: {content[:100]!r}", response.status) from error
        if response.status >= 400:
            raise MillraceError(report.get("error", response.reason), response.status)
        return report

    def _job(self, action: str, paths: Paths, **options: Any) -> Job:
        found = [self._relative(path) for path in ([paths] if isinstance(paths, (str, bytes, os.PathLike)) else paths)]
        query = {key: str(value).lower() for key, value in options.items() if value is not None}
        # A body has one path per line: a path with a line end, or one that is empty, goes into the query.
        if len(found) <= 16 or any(b"\n" in path or not path for path in found):
            return Job(self, self.call("POST", action, {**query, "path": found}))
        return Job(self, self.call("POST", action, query, b"".join(path + b"\n" for path in found)))

    def _relative(self, path: Path) -> bytes:
        """Relative to the mount, whether it was given so or not."""
        name, place = os.fsencode(path), os.fsencode(self.path)
        if name == place or name.startswith(place.rstrip(b"/") + b"/"):
            return name[len(place) :].strip(b"/")
        return b"" if name == b"." else name


class Job:
    """A warm, pin, unpin, evict or du that a daemon runs. `report`: its last known state, docs/api.md#jobs."""

    def __init__(self, mount: Mount, report: dict[str, Any]):
        self.mount, self.report = mount, report

    def __repr__(self) -> str:
        r = self.report
        return f"<{r['action']} {r['id']} {r['state']}: {r['filesDone']} of {r['files']} files>"

    @property
    def id(self) -> str:
        """Its number, for other clients of the same mount."""
        return self.report["id"]

    @property
    def is_running(self) -> bool:
        """Whether it was running when it was last asked."""
        return self.report["state"] == "running"

    def poll(self, wait: float = 0) -> dict[str, Any]:
        """Its state now, or once it is over, `wait` seconds from now at the latest."""
        query = {"wait": str(max(0, int(wait)))} if wait >= 1 else {}
        self.report = self.mount.call("GET", f"jobs/{self.id}", query, timeout=wait + 60)
        return self.report

    def wait(
        self, timeout: Optional[float] = None, progress: Optional[Callable[[dict[str, Any]], object]] = None,
        check: bool = True,
    ) -> dict[str, Any]:
        """Waits until it is over and returns its report. `progress`: called about once a second with the report.
        Raises TimeoutError after `timeout` seconds (the job goes on), and, unless `check` is false, JobFailed."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.is_running:
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"{self!r} is still running after {timeout} s")
            self.poll(1)
            if progress is not None:
                progress(self.report)
        if check and self.report["state"] != "done":
            raise JobFailed(self.report)
        return self.report

    def cancel(self) -> dict[str, Any]:
        """Cancels it; what it has fetched stays. It is over soon after: see wait(check=False)."""
        self.report = self.mount.call("DELETE", f"jobs/{self.id}")
        return self.report


def mounts() -> list[Mount]:
    """The mounts that this user may control; for root, those of all users."""
    found = []
    for record in runtime.all_records():
        try:
            mount = Mount(record.mount_point)
        except (MillraceError, OSError):
            continue
        if mount.pid == record.pid:
            found.append(mount)
    return found


class _Connection(http.client.HTTPConnection):
    """HTTP on a unix socket that one of `servers` listens at."""

    def __init__(self, path: str, timeout: float, servers: set[int]):
        super().__init__("millrace", timeout=timeout)
        self.path, self.servers = path, servers

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
        peer = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        user = struct.unpack("3i", peer)[1]
        if user not in self.servers:
            raise MillraceError(f"{self.path} is served by user {user}, and not by the mount's")


def _can_connect(path: str) -> bool:
    """Whether this user may. The socket appears a moment after the mount."""
    for _ in range(20):
        if os.access(path, os.R_OK | os.W_OK):
            return True
        if os.path.exists(path) or not os.access(os.path.dirname(path), os.X_OK):
            return False
        time.sleep(0.1)
    return False


def _order(name: str) -> str:
    """The route of an access order."""
    return "order" + ("/" + urllib.parse.quote(name, safe="") if name else "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
