"""The verdict on studies whose answer is known: one rule, in words and in ``matching.csv``."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lth.records.intervals import interval
from lth.records.judged import TEST_ACCURACY
from lth.records.matching import DIVERGED, FALLS_SHORT, MATCHES, UNDECIDED, in_order, matching
from lth.records.record import Record
from lth.records.statistics import percent
from lth.records.verdict import points, verdict
from tests.synthetic import REINIT, WINNER

DENSE = (0.90, 0.92, 0.94)  # standard deviation 0.02


def member(trial, arm, level, accuracy, lr=0.1, copy=0):
    where = ("s", trial, copy, lr, arm, level, 0.5**level)
    if accuracy is None:
        return [Record(*where, 3, "train", "diverged", 3.0)]
    return [
        Record(*where, 9, "validation", "early_stop_step", 9.0),
        Record(*where, 9, "test", "accuracy", accuracy),
    ]


def records_of(tickets, reinit=(), dense=DENSE, lr=0.1, noise=(-0.001, 0.0, 0.001)):
    """Differences to the dense network by level and arm: their mean in points, ``noise`` on it."""
    found = [m for t, a in enumerate(dense) for m in member(t, WINNER, 0, a, lr)]
    for arm, levels in ((WINNER, tickets), (REINIT, reinit)):
        for level, mean in enumerate(levels, start=1):
            for t, (base, off) in enumerate(zip(dense, noise, strict=True)):
                if base is not None:
                    found += member(t, arm, level, base + mean / 100 + off, lr)
    return found


def told(records, arm=WINNER):
    return [m.verdict for m in matching(records) if m.arm == arm]


def said(records):
    return verdict(records)[0]


def test_tickets_match_and_reinitialised_ones_stop():
    tickets, reinits, *rule = verdict(records_of((1, 0, -1.5), (0, -4, -8)))
    # Differences of -0.1, 0 and 0.1 points about each mean, times t(2) / sqrt(3).
    assert tickets == (
        "tickets match the dense network down to 12.5 % of the weights; the lowest trained: "
        "-1.50 points (-1.75 to -1.25)"
    )
    assert reinits == (
        "reinitialised ones match down to 50 % of the weights and fall short from 25 % of the "
        "weights on; at 12.5 %, the lowest trained: -8.00 points (-8.25 to -7.75)"
    )
    assert "standard deviation over trials (2.00 points)" in " ".join(rule)
    assert "Student's 95 % interval of the paired difference over the 3 trials" in " ".join(rule)


def test_the_margin_is_one_standard_deviation_of_the_dense_network():
    half = 4.302653 * 0.001 / 3**0.5
    assert told(records_of((100 * (half - 0.01999),))) == [MATCHES]
    assert told(records_of((100 * (half - 0.02001),))) == [UNDECIDED]
    assert told(records_of((100 * (-half - 0.01999),))) == [UNDECIDED]
    assert told(records_of((100 * (-half - 0.02001),))) == [FALLS_SHORT]


def test_the_first_level_that_fails_ends_a_claim_from_either_end():
    """Fixed-sequence testing: what lies behind a failure is not claimed, however good it looks."""
    records = records_of((1, -2, 1, -9, -2, -9, -9))
    assert [m.alone for m in matching(records)] == [
        MATCHES, UNDECIDED, MATCHES, FALLS_SHORT, UNDECIDED, FALLS_SHORT, FALLS_SHORT,
    ]  # fmt: skip
    assert told(records) == [MATCHES] + 4 * [UNDECIDED] + 2 * [FALLS_SHORT]
    assert said(records) == (
        "tickets match the dense network down to 50 % of the weights, are undecided from 25 % to "
        "3.12 % (-2.00 points, but maybe -2.25) and fall short from 1.56 % of the weights on; "
        "at 0.781 %, the lowest trained: -9.00 points (-9.25 to -8.75); taken alone, 2 of 7 levels "
        "match"
    )


def test_a_claim_is_false_as_rarely_as_it_says():
    """Two levels are as good as dense, six lie at minus the tolerance: too low by a hair.

    Of 2,000 such studies 2.5 % may say that one of the six matches; judged alone, far more do.
    """
    draw, wrong, alone = np.random.default_rng(0), 0, 0
    (row,) = matching(records_of((1,)))
    for values in draw.normal(size=(2000, 8, 5)) + 9.0 * (np.arange(8) < 2)[:, None]:
        passed = [MATCHES if interval(v.tolist()).low >= 0 else UNDECIDED for v in values]
        told = in_order([row._replace(alone=p) for p in passed])
        wrong += any(r.verdict == MATCHES for r in told[2:])
        alone += MATCHES in passed[2:]
    assert 0.018 < wrong / 2000 < 0.033 and alone / 2000 > 0.1


def test_never():
    assert said(records_of((-40, -41))) == (
        "tickets fall short of the dense network, at 50 % of the weights already; at 25 %, the "
        "lowest trained: -41.00 points (-41.25 to -40.75)"
    )


THREE_OF_FIVE = [
    r for t in range(5) for level in range(3) if level < 2 or t > 2
    for r in member(t, WINNER, level, None if level == 1 and t < 3 else 0.95 + t * t / 1000)
]  # fmt: skip


def test_trials_that_ended_are_told_and_nothing_is_certified():
    rows = matching(THREE_OF_FIVE)
    assert [(m.trials, m.diverged, m.ended, m.verdict) for m in rows] == [
        (2, 3, 3, UNDECIDED), (2, 0, 3, UNDECIDED),
    ]  # fmt: skip
    assert "over 2 of 5 trials; 3 diverged" in said(THREE_OF_FIVE)
    assert "match" not in said(THREE_OF_FIVE) and "fall short" not in said(THREE_OF_FIVE)


def test_a_ticket_that_diverged_above_ends_the_trial_of_every_arm():
    records = records_of((1, 1), (1, 1))
    records = [r for r in records if (r.trial, r.level) != (2, 2) and (r.trial, r.arm, r.level)
               != (2, WINNER, 1)] + member(2, WINNER, 1, None)  # fmt: skip
    assert told(records, REINIT) == [MATCHES, UNDECIDED]
    reinit = [m for m in matching(records) if m.arm == REINIT]
    assert [(m.trials, m.ended) for m in reinit] == [(3, 0), (2, 1)]


def test_a_trial_that_is_missing_or_whose_dense_network_diverged_is_told():
    records = [r for r in records_of((1, 1)) if (r.trial, r.level) != (2, 2)]
    assert told(records) == [MATCHES, UNDECIDED]
    assert "over 2 of 3 trials; 1 missing" in said(records)
    lost = [r for r in records_of((1,)) if (r.trial, r.level) != (2, 0)] + member(
        2, WINNER, 0, None
    )
    assert told(lost) == [UNDECIDED] and "over 2 of 3 trials; 1 diverged" in said(lost)
    fewer = [r for r in records_of((1,), (1, 1)) if r.arm == WINNER or r.trial < 2]
    assert told(fewer, REINIT)[:1] == [MATCHES]  # an arm that was asked for with fewer trials


def test_a_copy_that_diverged_is_told():
    records = records_of((1,), (1,)) + member(1, REINIT, 1, None, copy=1)
    assert told(records, REINIT) == [UNDECIDED]
    assert "over 3 of 3 trials; 1 copy diverged" in verdict(records)[1]


def test_nothing_is_claimed_where_every_trial_diverged():
    records = records_of((1,)) + [m for t in range(3) for m in member(t, "my_arm", 1, None)]
    assert told(records, "my_arm") == [DIVERGED]
    assert verdict(records)[1] == "my arm diverged at 50 % of the weights, all 3 trials"
    records = [m for t in range(3) for m in member(t, WINNER, 0, None) + member(t, "x", 1, 0.5)]
    assert said(records) == "the dense network diverged: there is nothing to match"
    assert matching(records) == []


@pytest.mark.parametrize("count", [2, 5])
def test_trials_of_equal_accuracy_tell_nothing(count):
    """0.92 - 0.9 and 0.94 - 0.92 differ in the last bit: that is no spread either."""
    for dense, ticket in (((0.9,) * 5, (0.9,) * 5), ((0.9, 0.92, 0.94, 0.96, 0.98),
                                                     (0.92, 0.94, 0.96, 0.98, 1.0))):  # fmt: skip
        pairs = list(enumerate(zip(dense, ticket, strict=True)))[:count]
        records = [r for t, (a, b) in pairs for n, x in ((0, a), (1, b))
                   for r in member(t, WINNER, n, x)]  # fmt: skip
        (found,) = matching(records)
        assert found.verdict == UNDECIDED
        assert found.student_low == found.bootstrap_low == float("-inf")
        assert "without a spread cannot tell" in said(records) and "(" not in said(records)[-20:]


def test_one_trial_cannot_tell():
    records = records_of((3, -50), dense=(0.92,), noise=(0.0,))
    first, rule = verdict(records)
    assert first == (
        "tickets are undecided from 50 % to 25 % of the weights (one trial cannot tell); at 25 %, "
        "the lowest trained: -50.00 points"
    )
    assert told(records) == [UNDECIDED, UNDECIDED] and "no spread to judge by" in rule


def test_the_dense_network_alone_gets_no_rule():
    assert verdict(records_of(())) == [
        "only the dense network was trained: there is nothing to compare"
    ]


def test_each_learning_rate_gets_its_own_line_and_margin():
    both = records_of((1,)) + records_of((-50,), dense=(0.8, 0.9, 1.0), lr=0.0012)
    low, high, *rule = verdict(both)
    assert low.startswith("lr 0.0012: tickets fall short of the dense network, at 50 %")
    assert high.startswith("lr 0.1: tickets match")
    assert "lr 0.0012: 10.00; lr 0.1: 2.00 points" in " ".join(rule)


def test_an_arm_of_the_users_own_is_named_in_words():
    records = records_of((1, 1)) + [m for t in range(3) for m in member(t, "my_arm", 1, 0.1 + t)]
    assert verdict(records)[1].startswith("my arm is undecided at 50 % of the weights")


def test_equal_differences_are_written_alike():
    """97.125 - 96.75 and 96.875 - 96.5 are both 0.375, but not as floats."""
    made = {TEST_ACCURACY.text(a - b) for a, b in ((0.97125, 0.9675), (0.96875, 0.965))}
    assert made == {"0.38"}


def test_no_records_no_words():
    assert verdict([]) == [] == matching([])


ACCURACY = some.one_of(some.none(), some.integers(0, 40).map(lambda n: n / 40))
ARMS = (WINNER, REINIT, "supermask")


@some.composite
def studies(draw):
    """Any records: trials, levels and members missing or diverged at will, equal values often."""
    found, trials = [], draw(some.integers(1, 4))
    wide = draw(some.sampled_from([ACCURACY, some.sampled_from([0.5, 0.525]), some.just(0.5)]))
    for level in range(draw(some.integers(0, 3)) + 1):
        for arm in ARMS if level else ARMS[:1]:
            for trial in range(trials):
                if draw(some.integers(0, 9)):
                    found += member(trial, arm, level, draw(wide))
    return found


@settings(max_examples=150, deadline=None)
@given(studies())
def test_words_and_table_give_one_answer(records):
    """A sentence claims exactly what the rows of ``matching.csv`` say, whatever the records."""
    rows, lines = matching(records), verdict(records)
    for arm in {m.arm for m in rows}:
        own = [m for m in rows if m.arm == arm]
        name = {WINNER: "tickets", REINIT: "reinitialised ones"}.get(arm, arm)
        (line,) = [x for x in lines if x.startswith(f"{name} ")]
        down = [m for m in own if m.verdict == MATCHES]
        short = [m for m in own if m.verdict == FALLS_SHORT]
        assert own[: len(down)] == down and own[len(own) - len(short) :] == short
        match = re.search(r"match (?:the dense network )?down to ([\d.e-]+ %)", line)
        fall = re.search(r"fall short (?:of the dense network, )?(?:at|from) ([\d.e-]+ %)", line)
        assert (match and match[1]) == (percent(down[-1].density) if down else None)
        assert (fall and fall[1]) == (percent(short[0].density) if short else None)
        assert ("undecided" in line) == any(m.verdict == UNDECIDED for m in own)
        if own[-1].trials:
            assert points(own[-1].student) in line
        for m in own:
            assert m.trials + m.ended + m.missing <= 4
            if m.verdict == MATCHES:
                assert m.whole and m.trials > 1 and m.student_low >= -m.tolerance
            if m.student.bounded:
                assert m.student_low < m.difference < m.student_high
