"""damage.py CACHE: turns one byte of every cache file that has any, as a failing disk would, and
takes away the trust that the running boot gives: every small file that names this boot forgets it.
"""

import os
import sys

boot = open("/proc/sys/kernel/random/boot_id", "rb").read().strip()
other = b"00000000-0000-0000-0000-000000000000"
turned = 0
for base, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(base, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "r+b") as file:
            content = file.read()
            if boot in content or boot.replace(b"-", b"") in content:
                content = content.replace(boot, other)
                content = content.replace(boot.replace(b"-", b""), other.replace(b"-", b""))
                file.seek(0)
                file.write(content)
            elif len(content) >= 100 and not name.endswith((".meta", ".lock", ".index", ".pieces")):
                middle = len(content) // 2
                file.seek(middle)
                file.write(bytes([content[middle] ^ 0xFF]))
                turned += 1
if not turned:
    sys.exit(f"nothing to damage under {sys.argv[1]}")
print(turned, "files damaged")
