#!/bin/sh
# make-venv.sh FOLDER: makes the Python environment of requirements.txt, or nothing if it is there.
# --system-site-packages: the distribution's python3-torch and numpy are seen from inside.
set -eu
folder=$1
wanted=$(dirname "$0")/requirements.txt
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if cmp -s "$wanted" "$folder/made-from"; then exit 0; fi
rm -rf "$folder"
/usr/bin/python3 -m venv --system-site-packages "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
cp "$wanted" "$folder/made-from"
