"""The budget of a network, measured: what it takes to store and to run.

What each number means is said once, in ``Budget``; how the file is made is ``lth.packing``'s.
"""

from lth.budget.macs import Macs, macs_of
from lth.budget.measure import Scoring, measured
from lth.records.budget import Budget

__all__ = ["Budget", "Macs", "Scoring", "macs_of", "measured"]
