# SPDX-License-Identifier: Apache-2.0
"""Makes ../resources/golden/safetensors with the Python library (safetensors 0.8.0, torch 2.13.0).

`<name>.safetensors` are written by it; `verdicts.tsv` holds small files, mostly broken ones, and
what it says of each: name, "ok" or the kind of error, and the file's bytes in hexadecimal.
Values: element i of a tensor is (i - 3) / 2 in floating types, i mod 2 in BOOL, i elsewhere.
"""

import struct
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parent.parent / "resources" / "golden" / "safetensors"

COMPUTED = [
    torch.bool, torch.uint8, torch.float16, torch.bfloat16,
    torch.int32, torch.float32, torch.float64, torch.int64,
]  # fmt: skip
FOREIGN = [
    torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64, torch.complex64,
    torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
]  # fmt: skip


def values(dtype, *shape):
    n = 1
    for d in shape:
        n *= d
    i = torch.arange(n, dtype=torch.float64)
    if dtype == torch.bool:
        i = i % 2
    elif dtype.is_floating_point or dtype.is_complex:
        i = (i - 3) / 2
    return i.to(dtype).reshape(shape)


def key(dtype):
    return str(dtype).removeprefix("torch.")


def write_files():
    tensors = {}
    for shape_name, shape in {
        "matrix": (2, 5), "scalar": (), "vector": (3,), "empty": (0,), "hollow": (2, 0, 3),
    }.items():  # fmt: skip
        for dtype in COMPUTED:
            tensors[f"{shape_name}.{key(dtype)}"] = values(dtype, *shape)
    save_file(tensors, FOLDER / "computed.safetensors", {"format": "pt"})
    for dtype in COMPUTED:
        one = {f"b.{key(dtype)}": values(dtype, 3), f"a.{key(dtype)}": values(dtype, 7)}
        save_file(one, FOLDER / f"{key(dtype)}.safetensors")

    foreign = {key(d): values(d, 3) for d in FOREIGN}
    save_file(foreign, FOLDER / "foreign.safetensors")

    names = [
        "", " ", "a.b", "a/b", "../up", 'quote"', "back\\slash", "tab\t", "line\n", "bell\x07", "\x7f",
        "zwölf", "数", "\ue000", "\U0001f600", "\uffff", "A", "a", "_", "a" * 300, "dtype",
    ]  # fmt: skip
    save_file({n: values(torch.float32, 1) for n in names}, FOLDER / "names.safetensors")
    text = 'quote " back \\ slash / tab \t line \n return \r bell \x07 delete \x7f zwölf 数 \U0001f600'
    save_file({"x": values(torch.float32, 1)}, FOLDER / "metadata.safetensors", {text: text})
    save_file({}, FOLDER / "nothing.safetensors")
    save_file({}, FOLDER / "only_metadata.safetensors", {"format": "pt"})


def file(header, data=b"", length=None):
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="F32", shape="[1]", offsets="[0,4]", extra=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}'


def one(value, n=4, name="a"):
    return file(f'{{"{name}":{value}}}', bytes(n))


def cases():
    big, most = 2**64 - 1, 2**63
    good = '{"a":' + entry() + "}"
    yield "plain", file(good, bytes(4))
    yield "no bytes", b""
    yield "seven bytes", bytes(7)
    yield "N = 0", file("")
    yield "N = 0 with bytes after", file("", bytes(8))
    yield "N = 1", file("{")
    yield "N = 2", file("{}")
    yield "N = 100000001", file("{}", length=100_000_001)
    yield "N = 100000000 in a short file", file("{}", length=100_000_000)
    yield "N = 2^63", file("{}", length=most)
    yield "N = 2^64 - 1", file("{}", length=big)
    yield "N = 2^64 - 8", file("{}", length=big - 7)
    yield "N one more than there is", file(good, length=len(good) + 1)
    yield "N one less than the header", file(good, bytes(4), length=len(good) - 1)
    yield "data one byte short", file(good, bytes(3))
    yield "data one byte long", file(good, bytes(5))
    yield "no data", file(good)
    yield "only trailing bytes", file("{}", bytes(1))

    yield "spaces after", file(good + "     ", bytes(4))
    yield "spaces before", file("   " + good, bytes(4))
    yield "all white space", file(" \t\r\n{ \t\r\n} \t\r\n")
    yield "form feed", file("\f{}")
    yield "byte order mark", file(b"\xef\xbb\xbf{}")
    yield "NUL after", file("{}\0")
    yield "NUL before", file("\0{}")
    yield "comma after the last", file('{"a":' + entry() + ",}", bytes(4))
    yield "comma before the first", file('{,"a":' + entry() + "}", bytes(4))
    yield "two objects", file("{}{}")
    yield "array", file("[]")
    yield "null", file("null")
    yield "string", file('"a"')
    yield "number", file("1")
    yield "not UTF-8", file(b'{"\xff":' + entry().encode() + b"}", bytes(4))
    yield "overlong UTF-8", file(b'{"\xc0\xaf":' + entry().encode() + b"}", bytes(4))
    yield "UTF-8 surrogate", file(b'{"\xed\xa0\x80":' + entry().encode() + b"}", bytes(4))
    yield "cut UTF-8", file(b'{"\xe6\x95":' + entry().encode() + b"}", bytes(4))
    yield "unclosed object", file('{"a":' + entry(), bytes(4))
    yield "unclosed string", file('{"a')
    yield "single quotes", file(good.replace('"', "'"), bytes(4))
    yield "key without quotes", file(good.replace('"a"', "a"), bytes(4))
    yield "missing colon", file('{"a"' + entry() + "}", bytes(4))
    yield "comment", file("{/**/}")

    for name, text in {
        "empty name": "", "escaped name": "\\u0061\\n\\\\\\\"\\/\\b\\f\\r\\t",
        "surrogate pair": "\\ud83d\\ude00", "upper case hex": "\\uD83D\\uDE00",
        "high surrogate alone": "\\ud83d", "low surrogate alone": "\\ude00",
        "high surrogate, letter": "\\ud83da", "two high surrogates": "\\ud83d\\ud83d",
        "high surrogate, escape": "\\ud83d\\n", "swapped surrogates": "\\ude00\\ud83d",
        "unknown escape": "\\x41", "short escape": "\\u41", "escape of no digits": "\\u00g1",
        "control character": "\x01", "line feed": "\n", "delete": "\x7f", "escaped NUL": "\\u0000",
        "path": "../../etc/passwd",
    }.items():  # fmt: skip
        yield "name: " + name, one(entry(), name=text)

    for name, shape in {
        "fraction": "[1.0]", "exponent": "[1e0]", "minus zero": "[-0]", "negative": "[-1]",
        "plus": "[+1]", "leading zero": "[01]", "string": '["1"]', "null": "[null]", "true": "[true]",
        "no array": "1", "null instead": "null", "nested": "[[1]]", "scalar": "[]", "ones": "[1,1,1]",
        "spaces": "[ 1 , 1 ]", "comma": "[1,]", "2^64": f"[{big + 1}]", "2^64 - 1": f"[{big}]",
        "huge": "[" + "9" * 400 + "]", "hexadecimal": "[0x1]", "NaN": "[NaN]", "two": "[2]",
        "product 2^64": f"[{2**32},{2**32}]", "product 2^64 + 1": "[274177,67280421310721]",
        "product 2^62": f"[{2**31},{2**31}]", "wraps to one": f"[{2**62},4,1]",
    }.items():  # fmt: skip
        yield "shape: " + name, one(entry(shape=shape))
    for name, shape in {
        "[0, 2^64 - 1, 2]": f"[0,{big},2]", "[2^64 - 1, 2, 0]": f"[{big},2,0]", "[2, 0]": "[2,0]",
        "[2^64 - 1, 0]": f"[{big},0]", "[2^63, 2, 0]": f"[{most},2,0]", "[2^63 - 1, 2, 0]": f"[{most - 1},2,0]",
        "[0, 2^64]": f"[0,{big + 1}]",
    }.items():  # fmt: skip
        yield "empty shape: " + name, one(entry(shape=shape, offsets="[0,0]"), 0)

    for name, offsets in {
        "none": "[]", "one": "[0]", "three": "[0,4,4]", "swapped": "[4,0]", "hole in front": "[4,8]",
        "fraction": "[0,4.0]", "negative": "[-4,0]", "end 2^64": f"[0,{big + 1}]", "end 2^64 - 1": f"[0,{big}]",
        "end 2^63": f"[0,{most}]", "begin 2^63": f"[{most},{most + 4}]", "wraps": f"[{big - 3},0]",
        "too many bytes": "[0,8]", "too few bytes": "[0,2]", "object": "{}", "null": "null",
    }.items():  # fmt: skip
        yield "offsets: " + name, one(entry(offsets=offsets), 8 if name in ("hole in front", "too many bytes") else 4)

    for dtype, shape, n in [
        ("f32", "[1]", 4), ("F32 ", "[1]", 4), ("", "[1]", 4), ("F128", "[1]", 16), ("C128", "[1]", 16),
        ("BF16", "[1]", 2), ("BOOL", "[1]", 1), ("C64", "[1]", 8), ("U64", "[1]", 8), ("I8", "[3]", 3),
        ("U16", "[1]", 2), ("U32", "[1]", 4), ("F8_E5M2", "[2]", 2), ("F8_E4M3", "[2]", 2), ("F8_E8M0", "[2]", 2),
        ("F8_E4M3FNUZ", "[2]", 2), ("F8_E5M2FNUZ", "[2]", 2), ("F4", "[2]", 1), ("F4", "[1]", 1), ("F4", "[3]", 2),
        ("F6_E2M3", "[4]", 3), ("F6_E3M2", "[4]", 3), ("F6_E2M3", "[2]", 2), ("F6_E3M2", "[1]", 1), ("F4", "[0]", 0),
    ]:  # fmt: skip
        yield f"dtype {dtype} {shape}", one(entry(dtype, shape, f"[0,{n}]"), n)
    yield "dtype F64 [2^58] in four bytes", one(entry("F64", f"[{2**58}]", f"[0,{2**61}]"))
    yield "dtype F64 [2^61] overflows in bits", one(entry("F64", f"[{2**61}]", "[0,0]"), 0)
    yield "dtype null", one('{"dtype":null,"shape":[1],"data_offsets":[0,4]}')

    yield "entry: array", one('["F32",[1],[0,4]]')
    yield "entry: array of four", one('["F32",[1],[0,4],0]')
    yield "entry: array of two", one('["F32",[1]]')
    yield "entry: null", one("null")
    yield "entry: string", one('"F32"')
    yield "entry: empty", one("{}")
    yield "entry: other order", one('{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}')
    yield "entry: without dtype", one('{"shape":[1],"data_offsets":[0,4]}')
    yield "entry: without shape", one('{"dtype":"F32","data_offsets":[0,4]}')
    yield "entry: without offsets", one('{"dtype":"F32","shape":[1]}')
    for name, extra in {
        "string": '"x"', "null": "null", "true": "true", "false": "false", "fraction": "-1.5e-3", "object": '{"y":[1,{}]}',
        "nested 9": "[" * 9 + "]" * 9, "nested 100": "[" * 100 + "]" * 100,
        "word": "nul", "number": "1.", "number without digits": "-", "leading zero": "01",
    }.items():  # fmt: skip
        yield "entry: extra field, " + name, one(entry(extra=f',"x":{extra}'))
    yield "entry: extra field twice", one(entry(extra=',"x":1,"x":2'))
    yield "entry: dtype twice", one(entry(extra=',"dtype":"F32"'))
    yield "entry: shape twice", one(entry(extra=',"shape":[1]'))
    yield "entry: offsets twice", one(entry(extra=',"data_offsets":[0,4]'))

    a, meta = '"a":' + entry(), '"__metadata__":'
    yield "metadata first", file("{" + meta + '{"k":"v"},' + a + "}", bytes(4))
    yield "metadata last", file("{" + a + "," + meta + '{"k":"v"}}', bytes(4))
    yield "metadata between", file("{" + a + "," + meta + '{"k":"v"},"b":' + entry(offsets="[4,8]") + "}", bytes(8))
    yield "metadata null", file("{" + meta + "null," + a + "}", bytes(4))
    yield "metadata empty", file("{" + meta + "{}," + a + "}", bytes(4))
    yield "metadata escaped", file('{"\\u005f_metadata__":{"k":"v"}}')
    for name, value in {
        "number": '{"k":1}', "null value": '{"k":null}', "nested": '{"k":{}}', "array": "[]", "string": '"x"',
        "tensor": entry(), "true": '{"k":true}',
    }.items():  # fmt: skip
        yield "metadata of a " + name, file("{" + meta + value + "}")
    yield "metadata twice", file("{" + meta + "{}," + meta + "{}}")
    yield "metadata key twice", file("{" + meta + '{"k":"v","k":"w"}}')
    yield "tensor twice, alike", file("{" + a + "," + a + "}", bytes(4))
    yield "tensor twice, unlike", file("{" + a + ',"a":' + entry(offsets="[4,8]") + "}", bytes(8))
    yield "tensor twice, once escaped", file("{" + a + ',"\\u0061":' + entry() + "}", bytes(4))

    def two(first, second, n):
        return file('{"a":' + first + ',"b":' + second + "}", bytes(n))

    empty = lambda at: entry(shape="[0]", offsets=f"[{at},{at}]")  # noqa: E731
    yield "two", two(entry(), entry(offsets="[4,8]"), 8)
    yield "two, unsorted", two(entry(offsets="[4,8]"), entry(), 8)
    yield "two that overlap", two(entry(), entry(offsets="[2,6]"), 6)
    yield "two in one place", two(entry(), entry(), 4)
    yield "two with a hole", two(entry(), entry(offsets="[5,9]"), 9)
    yield "two, the second beyond the end", two(entry(), entry(offsets="[4,8]"), 4)
    yield "two, unaligned", two(entry("U8", "[1]", "[0,1]"), entry(offsets="[1,5]"), 5)
    yield "empty tensor in front", two(entry(), empty(0), 4)
    yield "empty tensor behind", two(entry(), empty(4), 4)
    yield "empty tensor inside", two(entry(), empty(2), 4)
    yield "empty tensor beyond", two(entry(), empty(8), 4)
    yield "two empty tensors", two(empty(0), empty(0), 0)
    wrap = ",".join(
        f'"{i}":' + entry("U8", f"[{2**60}]", f"[{i * 2**60},{(i + 1) * 2**60}]") for i in range(15)
    )
    tail = 2**64 - 15 * 2**60
    yield "offsets up to 2^64 - 4", file(
        "{" + wrap + ',"x":' + entry("U8", f"[{tail - 4}]", f"[{15 * 2**60},{2**64 - 4}]") + "}", bytes(4)
    )
    yield "top level nested", file("[" * 200 + "]" * 200)
    yield "entry nested 200", one("[" * 200 + "]" * 200)
    yield "many dimensions", one(entry(shape="[" + "1," * 999 + "1]"))


def verdict(data):
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as f:
        f.write(data)
        f.flush()
        try:
            with safe_open(f.name, "pt") as opened:
                list(opened.keys())
            return "ok"
        except (SafetensorError, ValueError, OSError) as e:
            return str(e).splitlines()[0].split("(")[0].removeprefix("Error while deserializing header: ").split(":")[0]


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_files()
    names = set()
    with open(FOLDER / "verdicts.tsv", "w") as out:
        for name, data in cases():
            if name in names:
                raise ValueError(name)
            names.add(name)
            out.write(f"{name}\t{verdict(data)}\t{data.hex()}\n")


if __name__ == "__main__":
    main()
