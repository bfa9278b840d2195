"""A hub in small: the part of Hugging Face's API that reading a repository takes, over a folder.

    hub.py PORT STORAGE_PORT FOLDER [--token TOKEN] [--lifetime SECONDS]

The repository is datasets/owner/name, its only branch main. Files of 1,000 bytes and more are "LFS": their
address leads to the storage port, signed for LIFETIME seconds, where an Authorization header is an error. The first
DAMAGE answers from there have a flipped bit.
`GET /-/asked` gives how often the hub resolved an address, and how often the storage gave bytes.
"""

import argparse
import hashlib
import http.server
import json
import os
import re
import threading
import time
import urllib.parse

arguments = argparse.ArgumentParser()
arguments.add_argument("port", type=int)
arguments.add_argument("storage", type=int)
arguments.add_argument("folder")
arguments.add_argument("--token")
arguments.add_argument("--damage", type=int, default=0)
arguments.add_argument("--lifetime", type=float, default=3600)
options = arguments.parse_args()

COMMIT = "5f1a" * 10
PAGE = 3
asked = {"resolve": 0, "storage": 0}
lock = threading.Lock()


def content(path):
    with open(os.path.join(options.folder, path), "rb") as file:
        return file.read()


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def signature(path, expires):
    return hashlib.sha256(f"secret|{path}|{expires}".encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def bytes(self, data, **headers):
        """The whole, or the range that was asked for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.answer(200, data, "application/octet-stream", **headers)
        first = int(wanted[1])
        last = min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if first > last:
            return self.answer(416, Content_Range=f"bytes */{len(data)}")
        self.answer(
            206, data[first:last + 1], "application/octet-stream",
            Content_Range=f"bytes {first}-{last}/{len(data)}", **headers)

    def do_HEAD(self):
        self.do_GET()


class Hub(Handler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if path == "/-/asked":
            return self.answer(200, json.dumps(asked).encode())
        if options.token and self.headers.get("Authorization") != f"Bearer {options.token}":
            return self.answer(401, b'{"error": "Invalid username or password."}')
        if not re.match("(/api)?/datasets/owner/name/", path):
            return self.answer(404, b'{"error": "Repository not found"}', X_Error_Code="RepoNotFound")
        if found := re.fullmatch("/api/datasets/owner/name/revision/(.*)", path):
            if found[1] not in ("main", COMMIT):
                return self.answer(404, b'{"error": "Invalid rev id"}', X_Error_Code="RevisionNotFound")
            return self.answer(200, json.dumps({
                "id": "owner/name", "sha": COMMIT, "lastModified": "2026-11-01T10:00:00.000Z",
                "siblings": [{"rfilename": "README.md"}], "private": False}).encode())
        if found := re.fullmatch(f"/api/datasets/owner/name/tree/(?:main|{COMMIT})/?(.*)", path):
            return self.tree(found[1].rstrip("/"), int(query.get("cursor", 0)), url)
        if found := re.fullmatch(f"/datasets/owner/name/resolve/(?:main|{COMMIT})/(.+)", path):
            return self.resolve(found[1])
        self.answer(404, b'{"error": "no such page"}')

    def tree(self, folder, start, url):
        place = os.path.join(options.folder, folder)
        if not os.path.isdir(place):
            return self.answer(404, b'{"error": "no such folder"}', X_Error_Code="EntryNotFound")
        entries = []
        for name in sorted(os.listdir(place)):
            path = f"{folder}/{name}" if folder else name
            if os.path.isdir(os.path.join(place, name)):
                entries.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": path})
                continue
            data = content(path)
            entry = {"type": "file", "oid": git_oid(data), "size": len(data), "path": path}
            if len(data) >= 1000:
                entry["lfs"] = {
                    "oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}
            entries.append(entry)
        headers = {}
        if start + PAGE < len(entries):
            address = f"http://127.0.0.1:{options.port}{url.path}?cursor={start + PAGE}"
            headers["Link"] = f'<{address}>; rel="next"'
        self.answer(200, json.dumps(entries[start:start + PAGE]).encode(), **headers)

    def resolve(self, path):
        if not os.path.isfile(os.path.join(options.folder, path)):
            return self.answer(404, b"Entry not found", X_Error_Code="EntryNotFound")
        with lock:
            asked["resolve"] += 1
        data = content(path)
        common = {"X_Repo_Commit": COMMIT}
        if len(data) < 1000:
            return self.bytes(data, ETag=f'"{git_oid(data)}"', **common)
        expires = time.time() + options.lifetime
        quoted = urllib.parse.quote(path)
        place = (f"http://127.0.0.1:{options.storage}/{quoted}?expires={expires}"
                 f"&signature={signature(path, expires)}")
        digest = hashlib.sha256(data).hexdigest()
        self.answer(
            302, b"Found", "text/plain", Location=place, X_Linked_Size=str(len(data)),
            X_Linked_ETag=f'"{digest}"', ETag=f'"{digest}"', **common)


class Storage(Handler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)[1:]
        query = dict(urllib.parse.parse_qsl(url.query))
        if self.headers.get("Authorization"):
            return self.answer(400, b"Only one auth mechanism allowed", "text/plain")
        if query.get("signature") != signature(path, query.get("expires")):
            return self.answer(403, b"SignatureDoesNotMatch", "text/plain")
        if float(query["expires"]) < time.time():
            return self.answer(403, b"Request has expired", "text/plain")
        with lock:
            asked["storage"] += 1
        data = content(path)
        etag = '"%s"' % hashlib.md5(data).hexdigest()
        if options.damage > 0:
            options.damage -= 1
            data = data[:500] + bytes([data[500] ^ 1]) + data[501:]
        self.bytes(data, ETag=etag)


for port, handler in ((options.storage, Storage), (options.port, Hub)):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    if handler is Storage:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    else:
        server.serve_forever()
