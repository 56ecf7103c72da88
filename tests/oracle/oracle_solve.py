"""Oracle: linear equations in fractions, by Gauss and Jordan."""

from collections.abc import Sequence
from fractions import Fraction


def solve(matrix: Sequence[Sequence[Fraction]], right: Sequence[Fraction]) -> list[Fraction]:
    """The exact x of matrix · x = right."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for n in range(len(rows)):
        pivot = next(k for k in range(n, len(rows)) if rows[k][n] != 0)
        rows[n], rows[pivot] = rows[pivot], rows[n]
        head = rows[n][n]
        rows[n] = [value / head for value in rows[n]]
        for k in range(len(rows)):
            if k != n and rows[k][n] != 0:
                factor = rows[k][n]
                rows[k] = [value - factor * top for value, top in zip(rows[k], rows[n], strict=True)]
    return [row[-1] for row in rows]
