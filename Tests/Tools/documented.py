"""Runs the commands of README and docs/ as they are printed, against a store with an S3 interface.

    python documented.py make BUCKETS                      # the directory of a bucket `bucket`
    python documented.py run MILLRACE ENDPOINT_URL [PAGE...]   # which serves it

/mnt/data and other paths are replaced by ones below a temporary directory; sudo, Slurm and torchrun are
stubs. Prints each command or script that fails, with its output; exit code 1 if there is one.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md"] + [f"docs/{name}.md" for name in (
    "command-line", "training", "credentials", "stores", "iam", "slurm", "faq", "troubleshooting", "metrics")]

# The first word of what is run; other indented blocks are output, code or policies.
SHELL = re.compile(r"\$ |#!/bin/bash|#SBATCH|data=|warm=|(millrace|sudo|python|export|mkdir|srun) ")
# Exit codes that the text means.
EXPECTED = {"millrace evict /mnt/data/val/00000.jpg": 1}
# Forms of commands with words to replace.
FORMS = re.compile(r"\[options\]|OWNER|SOURCE|MOUNTPOINT|PATH\b|COMMAND\b|NAME\b|JOB\b|\.\.\.")

STUBS = {
    "sudo": 'exec env "$@"',
    "python": 'exec /usr/bin/python3 "$@"',
    "torchrun": 'while [ "$1" != train.py ]; do shift; done; exec python "$@"',
    "srun": 'while case $1 in --*) ;; *) false ;; esac; do shift; done; exec "$@"',
    "sbatch": "echo 7",
    "scontrol": "echo localhost",
    "logger": 'echo "$@" >&2; exit 1',
}
TRAIN = """
import os, sys
tree = os.walk(sys.argv[sys.argv.index("--data") + 1])
files = [os.path.join(parent, name) for parent, _, names in tree for name in names]
assert files
for path in files:
    open(path, "rb").read()
"""


def blocks(text):
    """Indented blocks, without their indentation."""
    found = re.findall(r"(?:(?<=\n\n)|^)((?: {4,}.*\n|\n(?= {4}))+)", text)
    for block in found:
        lines = block.split("\n")
        depth = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        yield "\n".join(line[depth:] for line in lines).strip("\n")


def scripts(text):
    """What a reader would run."""
    for block in blocks(text):
        if not SHELL.match(block) or FORMS.search(block.split("\n")[0]):
            continue
        if block.startswith("#!"):
            yield block
            continue
        lines = block.replace("\\\n", "\\\0").split("\n")
        if block.startswith("$ "):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        checked = [
            f"{line} && false || [ $? = {EXPECTED[line]} ]" if line in EXPECTED else line for line in lines]
        yield "\n".join(checked).replace("\\\0", "\\\n")


def exporting(script):
    """An exporter runs until it is ended, on a port that is free here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = (
        f"millrace exporter --listen 127.0.0.1:{port} &\ntrap 'kill %1' EXIT\n"
        f"until curl -sf http://127.0.0.1:{port}/metrics >/dev/null; do sleep 0.1; done")
    return re.sub(r"^millrace exporter.*$", serving, script, flags=re.M).replace(":9464", f":{port}")


def endpoints(text):
    """Mount lines of tables: other stores' hosts, of which only the command line can be tried."""
    return re.findall(r"`(millrace mount [^`]*--endpoint-url https?://[^`]*)`", text)


NAMES = [f"val/{index:05}.jpg" for index in range(20)] + ["train/a.jpg", "train/b.jpg"]


def make(buckets):
    for name in NAMES:
        path = os.path.join(buckets, "bucket/train", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(os.urandom(2000))


class Stage:
    def __init__(self, program, endpoint, scratch):
        self.program, self.scratch = program, scratch
        self.mount_point = scratch + "/mnt/data"
        for name in ("mnt/data", "nvme", "tmp", "bin", "work", "home", "cache"):
            os.makedirs(os.path.join(scratch, name))
        os.symlink(program, scratch + "/bin/millrace")
        for name, body in STUBS.items():
            self.file("bin/" + name, f"#!/bin/bash\n{body}\n", 0o755)
        self.file("work/train.py", TRAIN)
        for name in ("epoch-7.txt", "files.txt", "first.txt"):
            self.file("work/" + name, "\n".join(NAMES) + "\n")
        self.environment = {
            "PATH": f"{scratch}/bin:{os.environ['PATH']}", "HOME": scratch + "/home", "USER": "user",
            "MILLRACE_ENDPOINT_URL": endpoint, "MILLRACE_CACHE_DIR": scratch + "/cache",
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "SLURM_JOB_ID": "7",
            "AWS_EC2_METADATA_DISABLED": "true", "data": scratch + "/tmp/data", "JOB": "7",
        }

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.scratch, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def bash(self, script, **variables):
        for old, new in (
            ("/usr/local/bin/millrace", self.program), ("/mnt/data", self.mount_point),
            ("/mnt/nvme", self.scratch + "/nvme"), ("=/tmp/", f"={self.scratch}/tmp/"),
        ):
            script = script.replace(old, new)
        if "millrace exporter" in script:
            script = exporting(script)
        return subprocess.run(
            ["/bin/bash", "-e" if "code=" not in script else "+e", "-c", script], cwd=self.scratch + "/work", timeout=120,
            env=self.environment | variables, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def clear(self):
        for line in open("/proc/self/mounts"):
            place = line.split()[1]
            if place.startswith(self.scratch):
                subprocess.run([self.program, "unmount", "--force", place], capture_output=True)

    def run(self, script):
        """None, or what went wrong."""
        commands = re.findall(r"millrace (\w+)", script)
        unmounted = [word for word in commands if word not in ("doctor", "list", "snapshot")]
        if not unmounted and "/mnt/data/" in script:
            unmounted = ["stats"]
        if unmounted and unmounted[0] not in ("mount", "run"):
            self.bash("millrace mount s3://bucket/train /mnt/data")
        result = self.bash(script)
        self.clear()
        return None if result.returncode == 0 else f"exit code {result.returncode}: {result.stdout}"

    def parse(self, line):
        """The store cannot be reached from here; the command line must be right all the same."""
        nowhere = "http://127.0.0.1:1"
        # Usage errors come at once; what waits for the store is right.
        result = self.bash("timeout 2 " + line, http_proxy=nowhere, https_proxy=nowhere)
        self.clear()
        return f"exit code 2: {result.stdout}" if result.returncode in (0, 2) else None


def main():
    if sys.argv[1] == "make":
        make(sys.argv[2])
        return 0
    program, endpoint, *pages = sys.argv[2:]
    failures = count = 0
    with tempfile.TemporaryDirectory(prefix="documented") as scratch:
        stage = Stage(os.path.abspath(program), endpoint, scratch)
        try:
            for page in pages or PAGES:
                with open(os.path.join(ROOT, page)) as file:
                    text = file.read()
                tried = [(script, stage.run) for script in scripts(text)]
                tried += [(line, stage.parse) for line in endpoints(text)]
                for script, run in tried:
                    count += 1
                    wrong = run(script)
                    if wrong:
                        failures += 1
                        print(f"{page}: {script}\n  {wrong}", flush=True)
        finally:
            stage.clear()
    print(f"{count} commands and scripts, {failures} failed")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
