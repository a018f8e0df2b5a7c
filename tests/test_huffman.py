"""Entropy codes: Huffman's lengths and bounds, the arithmetic coder's, and what comes back."""

import time

import numpy as np
import pytest

from lth.files import Damaged
from lth.packing import huffman
from lth.packing.adaptive import Chance, Tree, Whole, count, text
from lth.packing.chances import SQUASHED, log_odds
from lth.packing.coder import ONE, Reader, Recorder


def entropy(counts):
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def draws(seed):
    """Counts of all kinds: even, steep as Fibonacci's, with holes, huge."""
    draw = np.random.default_rng(seed)
    k = int(draw.integers(2, 70))
    counts = draw.integers(1, 1000, k)
    if seed % 3 == 1:
        counts = np.array([1, 1] + [0] * (k - 2))
        for n in range(2, min(k, 25)):
            counts[n] = counts[n - 1] + counts[n - 2]
    if seed % 3 == 2:
        counts = counts * (draw.random(k) < 0.5) + np.eye(k, dtype=int)[0] + np.eye(k, dtype=int)[1]
    return counts


@pytest.mark.parametrize("seed", range(30))
def test_lengths_are_a_full_code_within_a_bit_of_the_entropy(seed):
    counts = draws(seed)
    lengths = huffman.code_lengths(counts)
    assert sum(2.0 ** -int(n) for n in lengths if n) == 1.0  # Kraft
    assert ((lengths > 0) == (counts > 0)).all()
    mean = (counts * lengths).sum() / counts.sum()
    assert entropy(counts) <= mean + 1e-9 and mean < entropy(counts) + 1
    assert huffman.size(counts) == (counts * lengths).sum()
    huffman.check(lengths)


def test_four_counts_by_hand():
    lengths = huffman.code_lengths(np.array([8, 4, 2, 2]))
    assert lengths.tolist() == [1, 2, 3, 3]
    assert huffman.codes(lengths).tolist() == [0b0, 0b10, 0b110, 0b111]
    assert huffman.encode(np.array([0, 3, 1]), lengths) == bytes([0b01111000])


def test_nothing_and_one_symbol():
    assert huffman.code_lengths(np.zeros(0, dtype=int)).tolist() == []
    assert huffman.encode(np.zeros(0, dtype=int), np.array([1, 1])) == b""
    assert huffman.decode(b"", np.array([1, 1]), 0)[0].tolist() == []
    alone = huffman.code_lengths(np.bincount([3, 3, 3]))
    assert alone.tolist() == [0, 0, 0, 0]
    assert huffman.encode(np.array([3, 3, 3]), alone) == b""
    assert huffman.decode(b"", alone, 3)[0].tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="no code"):
        huffman.encode(np.array([0, 1]), np.array([0, 0]))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_encoded_comes_back(seed):
    counts = draws(seed)
    draw = np.random.default_rng(seed)
    symbols = np.repeat(np.arange(len(counts)), np.minimum(counts, 3000))
    draw.shuffle(symbols)
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=len(counts)))
    content = huffman.encode(symbols, lengths)
    assert len(content) == (lengths[symbols].sum() + 7) // 8
    found, used = huffman.decode(content + b"tail", lengths, len(symbols))
    assert (found == symbols).all() and used == len(content)
    with pytest.raises(Damaged):
        huffman.decode(content[: len(content) // 2], lengths, len(symbols))


def test_a_codes_blocks_join(monkeypatch):
    monkeypatch.setattr(huffman, "BLOCK", 16)
    symbols = np.random.default_rng(0).integers(0, 9, 1000)
    lengths = huffman.code_lengths(np.bincount(symbols))
    assert (huffman.decode(huffman.encode(symbols, lengths), lengths, 1000)[0] == symbols).all()


@pytest.mark.parametrize("lengths", [[1, 1, 1], [1], [2, 2, 2], [49, 1]])
def test_a_table_that_does_not_add_up_is_refused(lengths):
    with pytest.raises(Damaged):
        huffman.check(np.array(lengths))


def test_a_network_takes_well_under_a_second():
    symbols = np.random.default_rng(0).geometric(0.4, 430_000)
    begun = time.process_time()
    lengths = huffman.code_lengths(np.bincount(symbols))
    found, _ = huffman.decode(huffman.encode(symbols, lengths), lengths, len(symbols))
    assert time.process_time() - begun < 2.0  # 0.2 s by itself
    assert (found == symbols).all()


def coded(write, reads=1):
    """Write by a model, and give what reads it."""
    recorder = Recorder()
    write(recorder)
    return recorder, Reader(recorder.coded(), bytes(recorder.plain))


@pytest.mark.parametrize("seed", range(20))
def test_decisions_of_any_chance_come_back_within_two_bytes_of_their_cost(seed):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(0, 4000))
    sharp = [1, 100, 30000, 65535][seed % 4]
    chances = np.clip(draw.integers(1, sharp + 1, n), 1, ONE - 1).tolist()
    bits = (draw.random(n) < [0.5, 0.0, 1.0, 0.1][seed % 4]).astype(int).tolist()
    recorder, reader = coded(lambda c: c.bits(chances, bits))
    assert len(recorder.coded()) <= recorder.cost / 8 + 3
    assert list(reader.bits(chances)) == bits
    reader.check_end()


def test_carries_run_through():
    """Long rows of the unlikelier and of the likelier: the interval's end lies at words of ones."""
    for pattern in ([0] * 500, [1] * 500, [1, 0] * 300, [0] * 300 + [1] * 300):
        for chance in (1, 2, 32767, 32768, 65534, 65535):
            _, reader = coded(lambda c, p=pattern, h=chance: c.bits([h] * len(p), p))
            assert list(reader.bits([chance] * len(pattern))) == pattern


def test_the_coder_comes_close_to_the_entropy():
    draw = np.random.default_rng(0)
    bits = (draw.random(50_000) < 0.04).astype(int)
    recorder = Recorder()
    chance = Chance()
    for bit in bits.tolist():
        chance.code(recorder, bit)
    bound = entropy(np.bincount(bits)) * len(bits) / 8
    assert bound < len(recorder.coded()) < 1.003 * bound


def test_models_write_and_read_alike():
    wholes = [0, 1, -1, 5, -700, 2**40, -(2**43), 3]

    def both(coder, read=False):
        tree, whole = Tree(5), Whole()
        given = [None] * 40 if read else [n * 7 % 32 for n in range(40)]
        found = [tree.code(coder, g) for g in given]
        found += [whole.code(coder, w) for w in ([None] * len(wholes) if read else wholes)]
        found += [count(coder, None if read else n) for n in (0, 1, 2, 1000, 2**43)]
        return found, text(coder, "known text", None if read else 'any text, "é" and known text')

    recorder = Recorder()
    written = both(recorder)
    assert both(Reader(recorder.coded()), read=True) == written


def test_symbols_of_given_shares():
    widths = [1, ONE - 1001, 1000]
    symbols = [0, 1, 1, 1, 2, 1, 1, 0]
    recorder = Recorder()
    recorder.symbols(widths, symbols, len(symbols))
    assert Reader(recorder.coded()).symbols(widths, None, len(symbols)) == symbols


def test_the_table_of_chances_is_the_same_wherever_it_is_made():
    """No entry lies so near the middle of two whole numbers that an ulp could decide."""
    sums = np.arange(-11 * 256, 11 * 256 + 1)
    exact = ONE / (1 + np.exp(-sums / 256))
    off = np.abs(exact - np.floor(exact) - 0.5)
    assert off.min() > 1e-6
    assert (SQUASHED[1:] >= SQUASHED[:-1]).all() and SQUASHED.min() >= 1


def test_logarithms_of_counts_are_the_same_wherever_they_are_taken():
    first = np.arange(1 << 19, 1 << 20)
    shifts = np.log(2) * (np.arange(64) - 20)
    for exact in (256 * np.log(first), 256 * shifts):
        assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-9
    values = np.array([1, 2, 3, 1000, 10**12])
    odds = log_odds(values, 2 * values)
    assert odds.tolist() == [0] * 5
    assert abs(log_odds(np.array([1]), np.array([10**12]))[0] / 256 + np.log(10**12)) < 0.01
