"""Packing: a network as a file of few bytes, and back, bit for bit."""

from lth.packing.packed import pack, unpack
from lth.packing.unpacked import Part, Unpacked

__all__ = ["Part", "Unpacked", "pack", "unpack"]
