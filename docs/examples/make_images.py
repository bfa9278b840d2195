"""Makes a small image data set: JPEG files of about 110 KB, one directory for each class.

    python make_images.py DIRECTORY [--count 2000] [--classes 10]

The classes differ by colour and shape under noise, so that a small network has something to learn
and the files do not compress well.
"""

import argparse
import multiprocessing
import os
import random

from PIL import Image, ImageDraw

SIDE = 256


def make(task):
    path, kind, classes, seed = task
    chance = random.Random(seed)
    hue = int(255 * kind / classes)
    picture = Image.new("HSV", (SIDE, SIDE), (hue, 60, 200)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    x, y, r = chance.randrange(60, 190), chance.randrange(60, 190), chance.randrange(25, 60)
    colour = tuple(Image.new("HSV", (1, 1), (hue, 220, 180)).convert("RGB").getpixel((0, 0)))
    (draw.ellipse if kind % 2 else draw.rectangle)((x - r, y - r, x + r, y + r), fill=colour)
    noise = Image.frombytes("RGB", (SIDE, SIDE), chance.randbytes(SIDE * SIDE * 3))
    Image.blend(picture, noise, 0.4).save(path, quality=95, subsampling=0)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("directory")
    options.add_argument("--count", type=int, default=2000)
    options.add_argument("--classes", type=int, default=10)
    arguments = options.parse_args()
    tasks = []
    for index in range(arguments.count):
        kind = index % arguments.classes
        directory = os.path.join(arguments.directory, f"class-{kind}")
        os.makedirs(directory, exist_ok=True)
        tasks.append((os.path.join(directory, f"{index:05}.jpg"), kind, arguments.classes, index))
    with multiprocessing.Pool() as pool:
        for _ in pool.imap_unordered(make, tasks, chunksize=20):
            pass
    size = sum(os.path.getsize(task[0]) for task in tasks)
    print(f"{len(tasks)} pictures, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
