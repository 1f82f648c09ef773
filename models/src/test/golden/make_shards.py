# SPDX-License-Identifier: Apache-2.0
"""The same four samples as tar archives of all kinds that Python's tarfile writes.

    python3 make_shards.py ../resources/io/sfumato/models/data
"""
import io
import sys
import tarfile
import zlib
import struct


def png(red, green, blue, width, height):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + bytes([red, green, blue]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


LONG = "/".join(["a folder with a name that is long"] * 8)
FILES = [
    ("./plain/000.png", png(255, 0, 0, 3, 2)), ("./plain/000.txt", b"  red\n"),
    ("./plain/000.cls", b"10"),
    ("gr\u00fcn/\u7eff.png", png(0, 255, 0, 4, 4)), ("gr\u00fcn/\u7eff.json", b'{"caption": "gr\\u00fcn"}'),
    ("gr\u00fcn/\u7eff.cls", b"2"),
    (LONG + "/blue.png", png(0, 0, 255, 5, 7)), (LONG + "/blue.caption", "bl\u00e5".encode()),
    (LONG + "/blue.cls", b"10"), (LONG + "/blue.seg.png", b"not looked at"),
    ("last.PNG", png(1, 2, 3, 1, 1)), ("last.cls", b"2"),
]


def main(folder):
    for name, kind in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT),
                       ("pax", tarfile.PAX_FORMAT)]:
        with tarfile.open(f"{folder}/{name}.tar", "w", format=kind) as tar:
            directory = tarfile.TarInfo("plain")
            directory.type = tarfile.DIRTYPE
            tar.addfile(directory)
            for path, data in FILES:
                if kind == tarfile.USTAR_FORMAT and path.startswith(LONG):
                    path = path[-200:].split("/", 1)[1]  # as much as ustar can hold
                info = tarfile.TarInfo(path)
                info.size = len(data)
                info.mtime = 1.25 if kind == tarfile.PAX_FORMAT else 1
                tar.addfile(info, io.BytesIO(data))


main(sys.argv[1])
