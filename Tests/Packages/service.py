"""service.py PROGRAM SOURCE MOUNTPOINT: what a service manager hears of a mount in the foreground."""
import os
import signal
import socket
import subprocess
import sys
import tempfile

program, source, place = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(30)
    environment = {**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
    daemon = subprocess.Popen([program, "mount", "--foreground", "--", source, place], env=environment)
    try:
        ready = manager.recv(4096)
        assert ready.startswith(b"READY=1\nSTATUS=Mounted "), ready
        assert os.listdir(place) == ["train"]
        for _ in range(3):
            beat = manager.recv(4096)
            assert beat == b"WATCHDOG=1", beat
        daemon.send_signal(signal.SIGTERM)
        while (message := manager.recv(4096)) != b"STOPPING=1":
            assert message == b"WATCHDOG=1", message
        assert daemon.wait(30) == 0, daemon.returncode
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
            subprocess.run(["umount", "-l", place], check=False)
print("service: right")
