"""A file of every accepted format, and what chance makes of it."""

from collections.abc import Callable, Iterator

import numpy as np

from tests.support.audio_files import FORMATS, encode, sweep

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# Where most formats keep what everything else hangs on.
_HEADER = 256

Mutation = Callable[[bytearray, np.random.Generator, list[bytes]], bytes]


def corpus() -> dict[str, bytes]:
    """Files by format: long enough to be heard, short enough to be many."""
    mono = sweep(0.9, 16_000)
    stereo = np.stack([mono, mono / 2], axis=1)
    return {format: encode(mono, format, 16_000) for format in FORMATS} | {
        f"{format}, stereo": encode(stereo, format, 16_000) for format in FORMATS
    }


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many files, the same for the same seed: which mutations of which format, and the bytes."""
    random = np.random.default_rng(seed)
    files = corpus()
    names, others = list(files), list(files.values())
    for _ in range(count):
        name = names[random.integers(len(names))]
        data = bytearray(files[name])
        done = []
        for _ in range(random.integers(1, 4)):
            mutation = _MUTATIONS[random.integers(len(_MUTATIONS))]
            data = bytearray(mutation(data, random, others))
            done.append(mutation.__name__.strip("_"))
        yield f"{name}: {', '.join(done)}", bytes(data)


def _flip_bits(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    for at in random.integers(0, len(data) or 1, random.integers(1, 64))[: len(data)]:
        data[at] ^= 1 << int(random.integers(8))
    return bytes(data)


def _flip_bits_of_the_header(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    head = data[:_HEADER]
    return _flip_bits(head, random, others) + data[_HEADER:]


def _set_a_number(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    """In the header or anywhere, of 1, 2 or 4 bytes, in either order, at an edge of its range."""
    size = int(random.choice([1, 2, 4]))
    end = min(len(data), _HEADER if random.random() < 0.7 else len(data))
    at = int(random.integers(0, max(1, end - size)))
    value = _EDGES[random.integers(len(_EDGES))] & (1 << 8 * size) - 1
    data[at : at + size] = value.to_bytes(size, "big" if random.random() < 0.5 else "little")
    return bytes(data)


def _cut_off(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    return bytes(data[: random.integers(0, len(data) + 1)])


def _cut_out(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    start, end = _span(data, random)
    return bytes(data[:start] + data[end:])


def _repeat(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    start, end = _span(data, random)
    return bytes(data[:end] + data[start:end] * int(random.integers(1, 4)) + data[end:])


def _insert_noise(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    start, _ = _span(data, random)
    return bytes(data[:start]) + random.bytes(int(random.integers(1, 4_096))) + bytes(data[start:])


def _blank(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    start, end = _span(data, random)
    return bytes(data[:start]) + bytes([int(random.choice([0, 255]))]) * (end - start) + bytes(data[end:])


def _splice(data: bytearray, random: np.random.Generator, others: list[bytes]) -> bytes:
    """The beginning of one file, the end of another."""
    other = others[random.integers(len(others))]
    return bytes(data[: random.integers(1, len(data) + 2)]) + other[random.integers(0, len(other)) :]


def _span(data: bytearray, random: np.random.Generator) -> tuple[int, int]:
    start, end = sorted(int(at) for at in random.integers(0, len(data) + 1, 2))
    return start, end


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _flip_bits_of_the_header,
    _set_a_number,
    _cut_off,
    _cut_out,
    _repeat,
    _insert_noise,
    _blank,
    _splice,
)
