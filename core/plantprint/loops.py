"""Lots that feed each other: their groups, upstream first, and the exact way of emissions around a rework loop."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from plantprint.lots import LineKey, Vector
from plantprint.quantities import round_half_even

Shares = Mapping[str, Sequence[tuple[str, Fraction]]]  # by lot: (taker, share) of each part of it


def strong_groups(takers: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Strongly connected groups of nodes (Tarjan, without recursion), givers before takers, ids sorted within."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    groups: list[list[str]] = []
    for start in sorted(takers):
        if start in index:
            continue
        work = [(start, iter(sorted(set(takers[start]))))]
        index[start] = low[start] = len(index)
        path.append(start)
        on_path.add(start)
        while work:
            node, ahead = work[-1]
            for taker in ahead:
                if taker not in index:
                    index[taker] = low[taker] = len(index)
                    path.append(taker)
                    on_path.add(taker)
                    work.append((taker, iter(sorted(set(takers.get(taker, ()))))))
                    break
                if taker in on_path:
                    low[node] = min(low[node], index[taker])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = [path.pop()]
                    while group[-1] != node:
                        group.append(path.pop())
                    on_path.difference_update(group)
                    groups.append(sorted(group))
    return groups[::-1]


def through_loop(group: Sequence[str], inflow: Mapping[str, Vector], parts: Shares) -> dict[str, list[Vector]] | None:
    """The lines of every part of the lots of a loop; None when nothing ever leaves it (a share of 1 back into it).

    What enters is divided once, over the parts that leave the group, by the exact rational solution and rule R1. The
    parts that stay inside are rounded and then made to balance at every lot along a tree.
    """
    members = set(group)
    leaves = any(share and taker not in members for lot in group for taker, share in parts[lot])
    if not leaves:
        return None
    visits = _visits(group, parts)
    pieces: dict[str, list[dict[LineKey, int]]] = {lot: [{} for _ in parts[lot]] for lot in group}
    tree = _tree(group, parts)
    for key in sorted({key for lot in group for key, value in inflow[lot].items() if value}):
        entered = {lot: inflow[lot].get(key, 0) for lot in group}
        passing = {lot: sum((visits[lot][at] * entered[at] for at in group), Fraction(0)) for lot in group}
        amounts = _whole(group, parts, passing, members)
        _balance(group, parts, entered, amounts, tree)
        for (lot, number), amount in amounts.items():
            if amount:
                pieces[lot][number][key] = amount
    return {lot: [*lines] for lot, lines in pieces.items()}


_Amounts = dict[tuple[str, int], int]  # by (lot, number of its part)


def _visits(group: Sequence[str], parts: Shares) -> dict[str, dict[str, Fraction]]:
    """visits[lot][at]: how much passes `lot`, in all, of one that enters `at`: the inverse of I - transposed shares."""
    place = {lot: number for number, lot in enumerate(group)}
    size = len(group)
    rows: list[dict[int, Fraction]] = [{number: Fraction(1), size + number: Fraction(1)} for number in range(size)]
    for lot in group:
        for taker, share in parts[lot]:
            if taker in place and share:
                row = rows[place[taker]]
                row[place[lot]] = row.get(place[lot], Fraction(0)) - share
    for column in range(size):
        pivot = next(number for number in range(column, size) if rows[number].get(column))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = rows[column][column]
        rows[column] = {at: value / scale for at, value in rows[column].items() if value}
        for number in range(size):
            factor = rows[number].get(column)
            if number == column or not factor:
                continue
            for at, value in rows[column].items():
                rows[number][at] = rows[number].get(at, Fraction(0)) - factor * value
    return {
        lot: {at: rows[place[lot]].get(size + place[at], Fraction(0)) for at in group} for lot in group
    }  # a diagonally dominant matrix that lets something out is never singular, so a pivot is always found


def _whole(group: Sequence[str], parts: Shares, passing: Mapping[str, Fraction], members: set[str]) -> _Amounts:
    """Integers for every part: those that leave by cumulative rounding (R1), so that they add up to what entered."""
    amounts: _Amounts = {}
    upto, given = Fraction(0), 0
    for lot in group:
        for number, (taker, share) in enumerate(parts[lot]):
            exact = share * passing[lot]
            if taker in members:
                amounts[lot, number] = round_half_even(exact.numerator, exact.denominator)
            else:
                upto += exact
                whole = round_half_even(upto.numerator, upto.denominator)
                amounts[lot, number], given = whole - given, whole
    return amounts


def _tree(group: Sequence[str], parts: Shares) -> list[tuple[str, str, tuple[str, int], int]]:
    """(lot, its parent, the part between them, +1 if the lot gives it), outermost lots first; `group[0]` is the root."""
    between: dict[str, list[tuple[str, tuple[str, int], int]]] = {lot: [] for lot in group}
    for lot in group:
        for number, (taker, share) in enumerate(parts[lot]):
            if taker in between and taker != lot and share:
                between[lot].append((taker, (lot, number), -1))
                between[taker].append((lot, (lot, number), 1))
    seen, waiting = {group[0]}, [group[0]]
    tree: list[tuple[str, str, tuple[str, int], int]] = []
    for parent in waiting:
        for lot, part, sign in between[parent]:
            if lot not in seen:
                seen.add(lot)
                waiting.append(lot)
                tree.append((lot, parent, part, sign))
    return tree[::-1]


def _balance(
    group: Sequence[str],
    parts: Shares,
    entered: Mapping[str, int],
    amounts: _Amounts,
    tree: Sequence[tuple[str, str, tuple[str, int], int]],
) -> None:
    """Moves rounding along the tree until every lot gives exactly what it got; changes `amounts`."""
    over = dict(entered)
    for lot in group:
        for number, (taker, _) in enumerate(parts[lot]):
            over[lot] -= amounts[lot, number]
            if taker in over:
                over[taker] += amounts[lot, number]
    for lot, parent, part, sign in tree:
        amounts[part] += sign * over[lot]
        over[parent] += over[lot]
        over[lot] = 0
    assert not any(over.values()), "a loop's rounding must balance"
