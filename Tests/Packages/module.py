"""module.py MOUNT: the module millrace against a real mount of four files, train/a/1, a/2, b/3 and b/4."""
import os
import sys

import millrace

place = os.path.realpath(sys.argv[1])
files = ["train/a/1", "train/a/2", "train/b/3", "train/b/4"]
size = sum(os.path.getsize(os.path.join(place, name)) for name in files)


def raises(kind, text, call, *arguments, **options):
    """`call` raises `kind`, and its message has `text` in it."""
    try:
        call(*arguments, **options)
    except kind as error:
        assert text in str(error), f"{text!r} is not in {error}"
        return error
    raise AssertionError(f"{call} raised nothing")


mount = millrace.Mount(os.path.join(place, "train/a"))
assert mount.path == place and mount.pid == mount.stats()["pid"], mount
assert mount.stats()["socket"] == mount.socket
assert place in [one.path for one in millrace.mounts()], millrace.mounts()
assert millrace.version() in os.popen(f"{millrace.program()} --version").read()

seen = []
report = mount.warm(["train/a", os.path.join(place, "train/b")], jobs=4, verify=True).wait(60, progress=seen.append)
assert (report["state"], report["files"], report["bytes"]) == ("done", 4, size), report
assert mount.du().wait(60)["bytesOnDisk"] == size
assert mount.pin("train/a/1").wait(60)["filesChanged"] == 1
failed = raises(millrace.JobFailed, "unpin it first", mount.evict("train/a/1").wait, 60)
assert failed.report["failures"] == 1
assert mount.unpin(b"train/a/1").wait(60)["state"] == "done"
assert mount.evict("train/a").wait(60)["files"] == 2
job = mount.warm()
job.cancel()
assert job.wait(60, check=False)["state"] in ("cancelled", "done")
assert job.id in [one.id for one in mount.jobs()]
raises(millrace.JobFailed, "No such file", mount.warm("nothere").wait, 60)
many = mount.du([f"train/a/{1 + index % 2}" for index in range(40)]).wait(60)
assert many["state"] == "done", many

assert mount.order(files, name="rank 0")["pathsNotFound"] == 0
assert [one["name"] for one in mount.stats()["orders"]] == ["rank 0"]
mount.end_order("rank 0")
refused = raises(millrace.MillraceError, "", mount.order, ["nothere"])
assert refused.status == 400, refused.status
assert mount.refresh("train") >= 1
os.listdir(os.path.join(place, "train"))
assert mount.update()["changes"] == []
assert raises(millrace.MillraceError, "no job", mount.call, "GET", "jobs/99999").status == 404
raises(millrace.NotMounted, "is not on a mount", millrace.Mount, "/")
print("module: right")
