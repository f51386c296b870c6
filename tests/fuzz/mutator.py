"""Valid bytes made invalid: flipped, cut, spliced, with forged sizes, numbers, names and nests, all from a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

CANARY = "canary"  # a folder beside the one that is read; whoever opens a file in it was led out
SECRET = f"{CANARY}/secret"
WAYS_OUT = tuple("../" * depth + SECRET for depth in range(1, 5))
NUMBERS = (
    *("NaN", "nan", "-inf", "Infinity", "-1", "0", "-0", "1e400", "-1e308", "1e308", "0.1", "1e-320", "2147483648"),
    *(
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "1000000000",
        "1" * 400,
        "1" * 5000,
        "0x10",
        "1_0",
        "٣",
    ),
)
WORDS = (
    *WAYS_OUT,
    *(
        "",
        " ",
        '"',
        "'",
        "\0",
        "\n",
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "[" * 2000,
        "[" * 100_000,
        '{"a":' * 3000,
        "<",
        ">",
        "&",
    ),
    *(
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "None",
        "\x1b[2J",
        "é",
        "\ud800",
        "\ufeff",
        "%s%n",
        "{0.__class__}",
        "x" * 5000,
    ),
    *("$(touch ran)", "`touch ran`", "; touch ran", "__import__('os').system('touch ran')", "..", "/", "-", "--", "="),
)
SIZES = (
    0,
    1,
    2,
    3,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**20,
    2**24,
    2**28,
    2**30,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
LONG = (*SIZES, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
MOST = 4 << 20  # bytes of an input: what grows beyond teaches nothing more


def mutated(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str] = ()) -> bytes:
    """One to four changes, each of a random kind; `others` are files to splice with, `words` more that mean much."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        data = rng.choice(KINDS)(rng, data, others, words)[:MOST]
    return data


def text(rng: Random, value: str, words: Sequence[str] = ()) -> str:
    """A text with something odd in it, or in its place."""
    odd = rng.choice((*NUMBERS, *WORDS, *words))
    kind, place = rng.randrange(5), rng.randrange(len(value) + 1)
    if kind == 0:
        return odd
    if kind == 1:
        return value[:place] + odd + value[place:]
    if kind == 2:
        return value[:place]
    if kind == 3:
        return value[:place] + value[place + 1 :]
    found = list(re.finditer(r"-?\d+(?:\.\d+)?", value))
    if not found:
        return value + odd
    chosen = rng.choice(found)
    return value[: chosen.start()] + rng.choice(NUMBERS) + value[chosen.end() :]


def _flip(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_early(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    """Headers are where the power is."""
    head = min(len(data), 200)
    return _flip(rng, data[:head], others, words) + data[head:]


def _cut(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _splice(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    other = rng.choice(others) if others else data
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _foreign(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    return rng.choice((*others, b"", b"\0" * 64, rng.randbytes(200)))


def _lose(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    start, size = rng.randrange(len(data) + 1), rng.choice((1, 4, 16, 256))
    return data[:start] + (bytes(size) if rng.random() < 0.5 else b"") + data[start + size :]


def _again(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    """A piece many times over: deep nests, long lists."""
    start, size = rng.randrange(len(data) + 1), rng.choice((1, 3, 16, 100))
    return data[:start] + data[start : start + size] * rng.choice((2, 10, 1000, 20_000)) + data[start + size :]


def _size(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    width = rng.choice((1, 2, 4, 4, 8))
    place = rng.randrange(min(len(data), 400) + 1) if rng.random() < 0.7 else rng.randrange(len(data) + 1)
    value = rng.choice(LONG) % (1 << 8 * width)
    return data[:place] + value.to_bytes(width, rng.choice(("little", "big"))) + data[place + width :]


def _number(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    found = list(NUMBER.finditer(data[: 1 << 16]))
    if not found:
        return _size(rng, data, others, words)
    chosen = rng.choice(found)
    return data[: chosen.start()] + rng.choice(NUMBERS).encode() + data[chosen.end() :]


def _word(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    place = rng.randrange(len(data) + 1)
    odd = rng.choice((*WORDS, *words)).encode("utf-8", "surrogatepass")
    return data[:place] + odd + data[place + (len(odd) if rng.random() < 0.5 else 0) :]


KINDS = (_flip, _flip_early, _cut, _splice, _foreign, _lose, _again, _size, _size, _number, _number, _word)
