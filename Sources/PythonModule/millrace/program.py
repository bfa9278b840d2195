"""The program of this package: where it is, and the command `millrace` that runs it."""

from __future__ import annotations

import os
import shutil
import sys

_VERSION = "0.1.0"


def version() -> str:
    """The version of this package and of the program in it."""
    return _VERSION


def program() -> str:
    """The path of the program: the one in this package, else the one in PATH."""
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "millrace")
    found = own if os.access(own, os.X_OK) else shutil.which("millrace")
    if found is None:
        raise FileNotFoundError("the program millrace is neither in this package nor in PATH")
    return found


def main() -> None:
    """The command `millrace`: this process becomes the program."""
    path = program()
    try:
        os.execv(path, ["millrace", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"millrace: {path}: {error.strerror}; this package is for x86-64 Linux with glibc 2.34 or newer")
