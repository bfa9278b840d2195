"""A small S3 client for filling test servers. Standard library only, signatures of its own.

    s3.py make-bucket BUCKET
    s3.py put-tree BUCKET PREFIX_HEX FOLDER    every file under FOLDER, by several processes
    s3.py put BUCKET KEY_HEX FILE
    s3.py put-lines BUCKET                     lines "KEY_HEX BODY_HEX" on standard input
    s3.py get BUCKET KEY_HEX FILE
    s3.py delete BUCKET KEY_HEX
    s3.py list BUCKET                          one key (percent-encoded) and size a line

Endpoint and keys come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION.
Keys are bytes and travel as hexadecimal digits.
"""

import hashlib
import hmac
import http.client
import os
import re
import sys
import time
import urllib.parse
import xml.etree.ElementTree
from concurrent.futures import ProcessPoolExecutor

SAFE = "-._~"
BLOCK = 1 << 20
EMPTY = hashlib.sha256(b"").hexdigest()


class Client:
    """One connection, re-opened when the server closes it."""

    def __init__(self):
        self.endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
        self.access = os.environ["AWS_ACCESS_KEY_ID"]
        self.secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        self.region = os.environ.get("AWS_REGION", "us-east-1")
        self.connection = None
        self.day = None

    def request(self, method, bucket, key=b"", query=(), body=b"", digest=None, length=None, sink=None):
        """(status, headers, body). body: bytes, or a function that returns a fresh readable."""
        path = "/" + bucket
        if key or method != "PUT" or query:
            path += "/" + urllib.parse.quote(key, safe="/" + SAFE)
        text = "&".join(
            urllib.parse.quote(k, safe=SAFE) + "=" + urllib.parse.quote(v, safe=SAFE)
            for k, v in sorted(query)
        )
        if digest is None:
            digest = hashlib.sha256(body).hexdigest() if body else EMPTY
        for attempt in range(6):
            try:
                return self.once(method, path, text, body, digest, length, sink)
            except (OSError, http.client.HTTPException):
                self.connection = None
                if attempt == 5:
                    raise
                time.sleep(0.1 * 2**attempt)

    def once(self, method, path, query, body, digest, length, sink):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.endpoint.netloc, timeout=120)
        headers = self.sign(method, path, query, digest)
        if callable(body):
            headers["Content-Length"] = str(length)
            with body() as readable:
                self.connection.request(method, path + ("?" + query if query else ""), readable, headers)
        else:
            self.connection.request(method, path + ("?" + query if query else ""), body, headers)
        response = self.connection.getresponse()
        if sink and response.status < 300:
            while block := response.read(BLOCK):
                sink.write(block)
            return response.status, response.headers, b""
        return response.status, response.headers, response.read()

    def sign(self, method, path, query, digest):
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        if self.day != stamp[:8]:
            key = ("AWS4" + self.secret).encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self.day, self.key = stamp[:8], key
        signed = "host;x-amz-content-sha256;x-amz-date"
        canonical = (
            f"{method}\n{path}\n{query}\nhost:{self.endpoint.netloc}\n"
            f"x-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n\n{signed}\n{digest}"
        )
        wanted = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self.key, wanted.encode(), "sha256").hex()
        return {
            "x-amz-content-sha256": digest,
            "x-amz-date": stamp,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access}/{scope},"
            f"SignedHeaders={signed},Signature={signature}",
        }

    def expect(self, *arguments, **named):
        """As request, but any status of 300 and more ends the program. 5xx is tried again for a
        while: a server that has just started is not ready for its first write."""
        for attempt in range(30):
            status, headers, body = self.request(*arguments, **named)
            if status < 500:
                break
            time.sleep(0.2)
        if status >= 300:
            shown = body[:400].decode(errors="replace")
            sys.exit(f"{arguments[0]} {arguments[1:3]}: status {status}: {shown}")
        return headers, body

    def put_file(self, bucket, key, path):
        size = os.path.getsize(path)
        if size <= 8 << 20:
            with open(path, "rb") as file:
                self.expect("PUT", bucket, key, body=file.read())
            return
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        self.expect(
            "PUT", bucket, key, body=lambda: open(path, "rb"), digest=digest.hexdigest(), length=size
        )


def put_share(arguments):
    bucket, share = arguments
    client = Client()
    for key, path in share:
        client.put_file(bucket, key, path)
    return len(share)


def put_tree(bucket, prefix, folder):
    folder = os.fsencode(folder)
    files = []
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            files.append((prefix + os.path.relpath(path, folder), os.path.abspath(path)))
    files.sort()
    workers = min(8, len(files)) or 1
    shares = [(bucket, files[start::workers]) for start in range(workers)]
    with ProcessPoolExecutor(workers) as pool:
        return sum(pool.map(put_share, shares))


def listing(client, bucket):
    query = [("list-type", "2"), ("encoding-type", "url")]
    while True:
        _, body = client.expect("GET", bucket, query=query)
        page = xml.etree.ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", body, count=1))
        for entry in page.iter("Contents"):
            yield entry.findtext("Key"), int(entry.findtext("Size"))
        token = page.findtext("NextContinuationToken")
        if not token:
            return
        query = [("list-type", "2"), ("encoding-type", "url"), ("continuation-token", token)]


def main(command, bucket, *rest):
    client = Client()
    if command == "make-bucket":
        client.expect("PUT", bucket)
    elif command == "put-tree":
        print(put_tree(bucket, bytes.fromhex(rest[0]), rest[1]), "objects put")
    elif command == "put":
        client.put_file(bucket, bytes.fromhex(rest[0]), rest[1])
    elif command == "put-lines":
        for line in sys.stdin:
            key, _, body = line.rstrip("\n").partition(" ")
            client.expect("PUT", bucket, bytes.fromhex(key), body=bytes.fromhex(body))
    elif command == "get":
        with open(rest[1], "wb") as sink:
            client.expect("GET", bucket, bytes.fromhex(rest[0]), sink=sink)
    elif command == "delete":
        client.expect("DELETE", bucket, bytes.fromhex(rest[0]))
    elif command == "list":
        for key, size in listing(client, bucket):
            print(key, size)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
