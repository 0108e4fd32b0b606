"""Everybody meets everybody: rounds in which all meet at once, each with another."""

from __future__ import annotations


def arrange_rounds(players: int) -> list[list[tuple[int, int]]]:
    """N - 1 rounds of N / 2 pairs (N rounds with one bye where N is odd), by the circle method.

    One player stays, the others move on by one place from round to round. In each pair the smaller number is first.
    """
    seats: list[int | None] = [*range(players)]
    if players % 2:
        seats.append(None)
    rounds = []
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        facing = zip(seats[:half], reversed(seats[half:]), strict=True)
        rounds.append([(min(a, b), max(a, b)) for a, b in facing if a is not None and b is not None])
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds
