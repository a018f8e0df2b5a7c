"""A covering array: few rows in which every pair of choices of two factors meets at least once."""

from itertools import combinations, product


def pairwise(factors):
    """Return rows, each a choice for every factor, greedily and always the same."""
    names = sorted(factors, key=lambda n: -len(factors[n]))
    missing = {
        (a, x, b, y) for a, b in combinations(names, 2) for x, y in product(factors[a], factors[b])
    }
    rows = []
    while missing:
        a, x, b, y = min(missing, key=lambda p: tuple(map(str, p)))
        row = {a: x, b: y}
        for name in names:
            if name not in row:
                row[name] = max(
                    factors[name], key=lambda v: (len(_met(row, name, v, missing)), str(v))
                )
        missing -= _pairs(row)
        rows.append(row)
    return rows


def _met(row, name, value, missing):
    both = [((name, value, n, had), (n, had, name, value)) for n, had in row.items()]
    return [p for pair in both for p in pair if p in missing]


def _pairs(row):
    return {(a, x, b, y) for (a, x), (b, y) in product(row.items(), row.items())}
