"""What CPython and its standard library must get right in a guest; prints one line per subject."""
import collections
import datetime
import decimal
import fractions
import functools
import hashlib
import heapq
import itertools
import json
import math
import os
import random
import re
import statistics
import string
import struct
import sys
import textwrap
import zlib
from dataclasses import dataclass, field
from pathlib import Path

print("json", json.dumps({"a": [1, 2.5, None, True], "é": "\u2028"}, sort_keys=True),
      json.loads('{"x": [1e3, -0.5, "\\u00e9"]}'))
print("re", re.findall(r"(?P<word>[a-z]+)-(\d+)", "ab-12 cd-3 -4"),
      re.sub(r"(?<=a)b+", lambda m: str(len(m[0])), "abbb ab b"))
decimal.getcontext().prec = 50
print("decimal", decimal.Decimal(2).sqrt(), decimal.Decimal("0.1") * 3)
print("fractions", sum(fractions.Fraction(1, n) for n in range(1, 21)))
print("integers", 3 ** 200 % 10 ** 30, pow(3, -1, 1000003), (-7) // 2, (-7) % 3, (1 << 100).bit_length(),
      math.isqrt(10 ** 40), math.comb(60, 30))
print("floats", 0.1 + 0.2, 1e16 + 1, float("1e-320"), math.fsum([0.1] * 10), (2.5).hex(), round(2.5),
      f"{1234567.891:,.2f} {0.00012345:.3e}", math.nan != math.nan, math.sqrt(2), math.exp(0.5), math.sin(1))
print("hashes", hashlib.sha256(b"abc").hexdigest()[:16], hashlib.md5(b"").hexdigest()[:8],
      hashlib.blake2b(b"x", digest_size=8).hexdigest(), zlib.crc32(b"123456789"))
packed = zlib.compress(b"atoll " * 1000, 9)
print("zlib", len(packed) < 100, zlib.decompress(packed) == b"atoll " * 1000)
print("struct", struct.pack("<IhdQ", 1, -2, 0.5, 2 ** 63).hex(), struct.unpack(">f", b"\x40\x49\x0f\xdb")[0])
print("dates", datetime.date(2024, 2, 29) + datetime.timedelta(days=366),
      datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc).timestamp(),
      datetime.date(2026, 1, 1).isocalendar().week)
random.seed(12345)
print("random", random.random(), random.randint(1, 10 ** 6), random.sample(range(100), 5))
print("collections", collections.Counter("mississippi").most_common(2),
      heapq.nsmallest(3, [5, 1, 4, 2]), list(itertools.islice(itertools.permutations("abc"), 4)))
print("statistics", statistics.stdev([1, 2, 4, 8]), statistics.median([3, 1, 2]))
print("text", textwrap.shorten("the quick brown fox", 12), string.Template("$a-$b").substitute(a=1, b=2),
      "ß".upper(), "İ".lower().encode(), "{:>8}|{:^8}|{:<8}|".format("a", "b", "c"))


@dataclass(order=True)
class Island:
    size: int
    name: str = field(compare=False)
    reefs: list = field(default_factory=list, compare=False)


print("classes", sorted([Island(3, "c"), Island(1, "a")])[0], Island.__match_args__)


@functools.lru_cache(maxsize=None)
def ways(n):
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)


print("caching", ways(40), ways.cache_info().hits)


def kind(value):
    match value:
        case [first, *rest]:
            return f"list {first} {len(rest)}"
        case {"name": str(name), **others}:
            return f"dict {name} {len(others)}"
        case int() | float() if value > 0:
            return "positive"
        case _:
            return "other"


print("matching", kind([1, 2, 3]), kind({"name": "x", "y": 1}), kind(4), kind(-4))


def echo():
    total = 0
    try:
        while True:
            total += yield total
    finally:
        print("generators closed", total)


talk = echo()
next(talk), talk.send(5), talk.send(6)
talk.close()

try:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("wrapped") from error
except ValueError as error:
    print("exceptions", repr(error), repr(error.__cause__))
try:
    raise ExceptionGroup("several", [TypeError("t"), OSError("o")])
except* TypeError as group:
    print("groups", group.exceptions)
except* OSError as group:
    print("groups", group.exceptions)


def down(n):
    return down(n + 1)


try:
    down(0)
except RecursionError as error:
    print("recursion", type(error).__name__)

work = Path(sys.argv[1])
(work / "made" / "deep").mkdir(parents=True)
(work / "made" / "deep" / "new.txt").write_text("zwölf\nlines\n" * 500, encoding="utf-8")
with open(work / "made" / "deep" / "new.txt", "r+b") as file:
    file.seek(-6, os.SEEK_END)
    tail = file.read()
    file.truncate(7)
os.rename(work / "made" / "deep" / "new.txt", work / "moved.txt")
print("files", (work / "input.txt").read_text().split(), tail, (work / "moved.txt").read_bytes(),
      sorted(p.name for p in work.iterdir()), [(len(d), len(f)) for _, d, f in os.walk(work)])
os.rmdir(work / "made" / "deep")
try:
    open(work / "absent")
except FileNotFoundError as error:
    print("missing", error.errno == __import__("errno").ENOENT)
try:
    os.listdir("/outside")
except OSError:
    print("outside", "refused")
print("input", [line.rstrip() for line in sys.stdin], os.environ.get("ATOLL_TEST"), sys.argv[2:])

grid = [[(i * j) % 7 for j in range(120)] for i in range(120)]
total = sum(sum(a * b for a, b in zip(row, column)) for row in grid[:30] for column in zip(*grid))
print("loops", total, sum(1 for n in range(2, 5000) if all(n % d for d in range(2, math.isqrt(n) + 1))))
