"""The verdict on studies whose answer is known."""

from lth.records import Record
from lth.statistics import bootstrap_interval, summarise
from lth.verdict import last_matching, points, verdict
from tests.synthetic import REINIT, WINNER

DENSE = (0.90, 0.92, 0.94)  # mean 0.92, standard deviation 0.02: what is at least 0.90 matches


def member(trial, arm, level, accuracy, lr=0.1):
    where = ("s", trial, 0, lr, arm, level, 0.5**level)
    if accuracy is None:
        return [Record(*where, 3, "train", "diverged", 3.0)]
    return [
        Record(*where, 9, "validation", "early_stop_step", 9.0),
        Record(*where, 9, "test", "accuracy", accuracy),
    ]


def records_of(tickets, reinit=(), dense=DENSE, lr=0.1):
    """One accuracy per level for each arm, the same in every trial."""
    found = [m for t, a in enumerate(dense) for m in member(t, WINNER, 0, a, lr)]
    for arm, levels in ((WINNER, tickets), (REINIT, reinit)):
        for level, accuracy in enumerate(levels, start=1):
            for trial in range(len(dense)):
                found += member(trial, arm, level, accuracy, lr)
    return found


def matched(records, arm=WINNER):
    found = last_matching(summarise(records), 0.1, arm)
    return found and found.cell.level


def test_tickets_match_and_reinitialised_ones_stop():
    tickets, reinits, *rule = verdict(records_of((0.93, 0.91, 0.89), (0.91, 0.85, 0.80)))
    # Differences at 25 %: +1, -1, -3 points; the mean of three draws is at an end once in 27 times,
    # more than 2.5 %, so the bootstrap's interval runs from the least to the greatest.
    assert tickets == (
        "tickets match the dense network down to 25 % of the weights: -1.00 points (-3.00 to 1.00)"
    )
    assert reinits == (
        "reinitialised ones match down to 50 % of the weights: -1.00 points (-3.00 to 1.00)"
    )
    assert "one standard deviation over the 3 trials" in " ".join(rule)
    assert "95 % paired bootstrap interval, too narrow for few trials" in " ".join(rule)


def test_the_interval_is_the_paired_bootstrap_of_the_level_that_is_named():
    accuracies = {1: (0.93, 0.99, 0.94), 2: (0.91, 0.925, 0.94)}
    records = [m for t, a in enumerate(DENSE) for m in member(t, WINNER, 0, a)]
    records += [m for n, found in accuracies.items() for t, a in enumerate(found)
                for m in member(t, WINNER, n, a)]  # fmt: skip
    found = bootstrap_interval([0.01, 0.005, 0.0])
    assert verdict(records)[0].endswith(f": {points(found)}")
    assert points(found) == "+0.50 points (0.00 to 1.00)"


def test_a_line_fits_a_terminal():
    accuracies = [0.95] * 7
    lines = verdict(records_of(accuracies, accuracies))
    assert max(map(len, lines)) <= 112
    assert len(lines) == 2 + 3


def test_the_margin_is_one_standard_deviation_of_the_dense_network():
    assert matched(records_of((0.9001,))) == 1
    assert matched(records_of((0.8999,))) is None


def test_one_level_that_falls_short_by_chance_does_not_hide_those_below_it():
    assert matched(records_of((0.95, 0.80, 0.95, 0.94, 0.5))) == 4
    assert matched(records_of((0.80, 0.95, 0.95))) == 3


def test_one_lucky_level_far_down_does_not_stand_for_an_arm():
    assert matched(records_of((0.95, 0.80, 0.80, 0.80, 0.95))) == 1
    assert matched(records_of((0.80, 0.95))) is None


def test_never_and_everywhere():
    tickets, reinits, *_ = verdict(records_of((0.92, 0.92), (0.5, 0.95)))
    assert tickets.startswith(
        "tickets match the dense network down to 25 % of the weights, the lowest trained: "
        "+0.00 points"
    )
    assert reinits == (
        "reinitialised ones fall short, at 50 % of the weights already: -42.00 points "
        "(-44.00 to -40.00)"
    )


def test_a_level_at_which_a_member_diverged_does_not_match():
    records = records_of((0.95, 0.95))
    records = [r for r in records if (r.trial, r.level) != (2, 2)]
    assert matched(records) == 2
    assert matched(records + member(2, WINNER, 2, None)) == 1


def test_members_that_diverged_are_told():
    records = [r for r in records_of((0.95,), (0.95,)) if (r.trial, r.level) != (2, 1)]
    records += member(2, WINNER, 1, None)
    records += [m for t in range(3) for m in member(t, "my_arm", 1, None)]
    tickets, reinits, mine, *_ = verdict(records)
    assert tickets == (
        "tickets fall short of the dense network, at 50 % of the weights already: +4.00 points "
        "(3.00 to 5.00), 1 of 3 diverged"
    )
    assert "diverged" not in reinits
    assert mine == "my arm fall short, at 50 % of the weights already: 3 of 3 diverged"


def test_a_dense_network_that_diverged_leaves_nothing_to_match():
    records = [m for t in range(3) for m in member(t, WINNER, 0, None)]
    assert verdict(records) == ["the dense network diverged: there is nothing to match"]


def test_one_trial_has_no_spread_to_judge_by():
    records = records_of((0.92, 0.9199), dense=(0.92,))
    first, rule = verdict(records)
    assert first == ("tickets match the dense network down to 50 % of the weights: +0.00 points")
    assert "no spread to judge by" in rule


def test_the_dense_network_alone_gets_no_rule():
    assert verdict(records_of(())) == [
        "only the dense network was trained: there is nothing to compare"
    ]


def test_each_learning_rate_gets_its_own_line():
    both = records_of((0.95,)) + records_of((0.5,), lr=0.0012)
    lines = verdict(both)
    assert len(lines) == 2 + 3
    assert lines[0].startswith("lr 0.0012: tickets fall short of the dense network, at 50 %")
    assert lines[1].startswith("lr 0.1: tickets match")


def test_an_arm_of_the_users_own_is_named_in_words():
    records = records_of((0.95, 0.95)) + [m for t in range(3) for m in member(t, "my_arm", 1, 0.1)]
    assert verdict(records)[1].startswith("my arm fall short, at 50 % of the weights already")


def test_no_records_no_words():
    assert verdict([]) == []
