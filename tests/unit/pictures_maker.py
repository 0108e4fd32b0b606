"""Pictures of every form, with every role, interval and label that they can have."""

from __future__ import annotations

from math import nan, sin

from hpcdl.report.pictures import (
    Axis,
    Bars,
    Dot,
    HeatMap,
    Lines,
    Picture,
    Scatter,
    Series,
    Stack,
    Stretch,
    Swing,
    Tornado,
    Waterfall,
)

NODES = (1, 2, 4, 8, 16)
SUBTITLE = "AlexNet · weak scaling · 256 images per rank · Horovod/NCCL · 8 GPUs a node (juno)"


def dots(values, spread=0.0):
    return tuple(
        Dot(node, value, value * (1 - spread), value * (1 + spread)) if spread else Dot(node, value)
        for node, value in zip(NODES, values, strict=False)
    )


def make_speed_up():
    series = (
        Series("ideal", "ideal", dots(NODES)),
        Series("Horovod", "measured", dots((1, 1.9, 3.5, 6.3, 11.2), 0.04)),
        Series("expected from the probe", "predicted", dots((1, 1.93, 3.6, 6.6, 11.9))),
        Series("DGX-1", "published", dots((1, 1.894, 3.518, 5.966))),
        Series("DDP", "estimated", dots((1, 1.7, 3.1, 5.0, 8.0))),
        Series("second day", "withheld", dots((1, 1.5, 2.9, 4.2, 6.6))),
    )
    form = Lines(Axis("nodes", log=True), Axis("speed-up", "times", log=True), series)
    return Picture(
        "speed-up",
        "Speed-up over nodes",
        SUBTITLE,
        "Speed-up rises to 11.2 at 16 nodes.",
        form,
        "Base: one node.",
    )


def make_power():
    course = tuple(
        Dot(step / 10, 300 + 90 * sin(step / 40) + (400 if step == 777 else 0)) for step in range(3000)
    )
    gapped = tuple(
        Dot(step, nan if 80 < step < 120 else 210 + 9 * sin(step), 195.0, 225.0) for step in range(300)
    )
    form = Lines(
        Axis("time since the launch began", "s"),
        Axis("power", "W"),
        (Series("GPU board 0", "measured", course), Series("CPU", "estimated", gapped)),
        (Stretch(50.0, 250.0, "measured window"),),
    )
    return Picture(
        "power", "Power over time", "node1 · GPU boards, counter", "Power wavers around 300 W.", form
    )


def make_tradeoff():
    series = (
        Series(
            "4 x H100",
            "measured",
            (Dot(1450, 45910, 45000, 46800, "350 W"), Dot(2700, 61000, 60000, 62000, "700 W")),
        ),
        Series("8 x P100", "published", (Dot(3200, 17822, label="DGX-1"),)),
        Series("64 cores", "estimated", (Dot(450, 1020, label="CPU"),)),
    )
    form = Scatter(Axis("power", "W"), Axis("throughput", "images/s"), series)
    return Picture("tradeoff", "Throughput against power", SUBTITLE, "More watts, more images.", form)


def make_ranks(count=8192, steps=300, slow=5003):
    values = tuple(
        tuple(0.1 + 0.004 * sin(rank * 7 + step) + (0.05 if rank == slow else 0) for step in range(steps))
        for rank in range(count)
    )
    form = HeatMap(
        Axis("step"),
        Axis("rank"),
        Axis("time before the allreduce", "s"),
        tuple(map(str, range(steps))),
        tuple(map(str, range(count))),
        values,
    )
    return Picture("ranks", "Step time by rank", f"{count:,} ranks", "One rank is slow throughout.", form)


def make_pairs():
    names = tuple(f"node{place}" for place in range(1, 6))
    values = tuple(
        tuple(None if a == b else (2e9 if {a, b} == {1, 3} else 11e9 + 1e8 * a) for a in range(5))
        for b in range(5)
    )
    form = HeatMap(
        Axis("to"), Axis("from"), Axis("bus bandwidth", "bytes/s"), names, names, values, worst="lowest"
    )
    return Picture(
        "pairs", "Bandwidth between pairs of nodes", "64 MB", "node2 and node4 are slow together.", form
    )


def make_shares():
    parts = (("input wait", 0.05), ("compute", 0.7), ("exchange wait", 0.15), ("update", 0.1))
    worse = (("input wait", 0.31), ("compute", 0.42), ("exchange wait", 0.22), ("update", 0.05))
    form = Stack(
        Axis("share of the step", "fraction"),
        (("1 node", parts), ("16 nodes, digits from a slow disk", worse)),
    )
    return Picture(
        "shares", "What a step is made of", SUBTITLE, "Compute is most of it.", form, beside="launches"
    )


def make_sides():
    bars = (
        ("4 x H100, this machine", "measured", Dot(0, 45910, 45000, 46800)),
        ("8 x P100 (DGX-1)", "published", Dot(0, 17822)),
        ("64 cores", "estimated", Dot(0, 1020, 800, 1300)),
        ("at 32 nodes", "predicted", Dot(0, 30500, 27000, 33000)),
        ("perfect scaling", "ideal", Dot(0, 52000)),
        ("8 nodes", "withheld", Dot(0, 21000)),
    )
    return Picture(
        "sides", "You and others", SUBTITLE, "This machine leads.", Bars(Axis("images/s", "images/s"), bars)
    )


def make_cost():
    parts = (("capital", 310.0), ("electricity", 92.5), ("cooling (PUE 1.2)", 18.5), ("rebate", -40.0))
    form = Waterfall(Axis("cost of a million images", "money", currency="EUR"), parts)
    return Picture("cost", "Cost of a million images", "juno · 2026 prices", "Capital is most of it.", form)


def make_sensitivity():
    swings = (
        Swing("electricity", 350, 420, "0.20 EUR/kWh", "0.34 EUR/kWh"),
        Swing("utilisation of the nodes over their lifetime", 610, 290, "40 %", "95 %"),
        Swing("lifetime", 450, 340, "4 years", "6 years"),
    )
    form = Tornado(Axis("cost of a million images", "money", currency="EUR", zero=False), 381.0, swings)
    return Picture(
        "sensitivity", "What moves the cost", "juno · 2026 prices", "Utilisation moves it most.", form
    )


def make_all():
    return (
        make_speed_up(),
        make_power(),
        make_tradeoff(),
        make_ranks(64, 40, 20),
        make_pairs(),
        make_shares(),
        make_sides(),
        make_cost(),
        make_sensitivity(),
    )
