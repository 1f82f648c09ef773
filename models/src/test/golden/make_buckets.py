# SPDX-License-Identifier: Apache-2.0
"""Which bucket pictures of many sizes get where none is enlarged, and what they are resized to.

Follows the rule of kohya's sd-scripts (library/train_util.py, BucketManager.select_bucket with
no_upscale), written anew, in double arithmetic as there.

    python3 make_buckets.py > ../resources/io/sfumato/models/data/batch/no_upscale.csv
"""
import math
import random


def down(value, step):
    whole = math.floor(value + 0.5)
    return whole - whole % step


def select(width, height, side, step):
    area = side * side
    if width * height <= area:
        new = (width, height)
    else:
        ratio = width / height
        ideal_width = math.sqrt(area * ratio)
        ideal_height = area / ideal_width
        by_width = down(ideal_width, step)
        by_height = down(ideal_height, step)
        other_height = down(by_width / ratio, step)
        other_width = down(by_height * ratio, step)
        if other_height == 0 or by_height == 0:
            return None  # the original divides by zero
        if abs(by_width / other_height - ratio) < abs(other_width / by_height - ratio):
            new = (by_width, math.floor(by_width / ratio + 0.5))
        else:
            new = (math.floor(by_height * ratio + 0.5), by_height)
    bucket = (new[0] - new[0] % step, new[1] - new[1] % step)
    return None if 0 in bucket else (*bucket, *new)


def main():
    draw = random.Random(7)
    print("side,step,width,height,bucket width,bucket height,resized width,resized height")
    cases = [
        (512, 64, 512, 512), (512, 64, 513, 512), (512, 64, 511, 513), (512, 64, 300, 200),
        (512, 64, 63, 400), (512, 64, 64, 64), (512, 64, 4000, 3000), (512, 64, 3000, 4000),
        (512, 64, 10000, 30), (512, 64, 30, 10000), (512, 64, 9000, 70), (1024, 64, 6000, 4000),
        (1024, 64, 1024, 1024), (1024, 64, 1920, 1080), (1024, 32, 1920, 1080), (32, 8, 33, 31),
        (24, 8, 80, 20), (768, 64, 1, 1), (768, 64, 700, 900), (768, 1, 1001, 999),
    ]
    for _ in range(400):
        step = draw.choice([1, 8, 16, 32, 64])
        side = step * draw.randint(1, 20) + draw.choice([0, 0, 0, 5])
        cases.append((side, step, draw.randint(1, 3000), draw.randint(1, 3000)))
    for side, step, width, height in cases:
        result = select(width, height, side, step)
        found = ",".join(map(str, result)) if result else ",,,"
        print(f"{side},{step},{width},{height},{found}")


main()
