"""Reports: the same facts in every format, and how they look. HPCDL_UPDATE_GOLDEN=1 writes the golden files."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hpcdl import report
from hpcdl.analysis.catalogue import read_stores
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.readings import Withheld
from hpcdl.durable import publish_record
from hpcdl.metering import Source, Unavailable
from hpcdl.networks import NETWORKS
from hpcdl.records import Missing, Submission
from hpcdl.report import as_csv, as_json, as_markdown, as_terminal, formats
from hpcdl.report.content import Column, Note, Quantity, Report, Table
from hpcdl.report.listing import list_runs
from hpcdl.report.models import describe_model, list_models
from hpcdl.store import Store
from hpcdl.stores import Stores
from tests.unit import records_maker
from tests.unit.records_maker import KILLED, STOPPED, Recording, record, write_run, write_trace

TEXTS = ("terminal", "markdown", "json", "html")
GOLDEN = Path(__file__).parents[1] / "golden"
RATES = (1000.0, 1950.0, 3700.0, 1010.0)
BROKEN = Recording(
    steps=7, outcome="stopped", outcomes={2: KILLED, 0: STOPPED}, summarised=False, one_machine=True
)


def scaling_run(store):
    run = write_run(store, nodes=(1, 2, 4, 1), repeat=2)
    for index in range(1, 9):
        record(run, index, Recording(images_per_s=RATES[(index - 1) % 4] * (1 + 0.001 * index)))
    return [run]


def killed_run(store):
    run = write_run(store, nodes=(4,))
    record(run, 1, BROKEN)
    return [run]


def digits_run(store):
    run = write_run(store, tasks_per_node=2, launcher="mpirun", model="lenet", data="digits", batch=64)
    record(run, 1, Recording(images_per_s=4756.2, accuracy=0.97532))
    return [run]


def rehearsal_run(store):
    run = write_run(store, nodes=(1, 2, 4))
    record(run, 1, Recording(one_machine=True))
    record(run, 2, Recording(one_machine=True, images_per_s=1400.0))
    record(run, 3, Recording(one_machine=True, steps=7, outcome=None, summarised=False))
    return [run]


def two_runs(store):
    first = write_run(store, nodes=(1, 2))
    record(first, 1)
    record(first, 2, Recording(images_per_s=1900.0))
    second = write_run(store, nodes=(1, 2), model="overfeat", batch=32, run_id="20261122-150000-zzzz")
    record(second, 1, Recording(images_per_s=60.0))
    return [first, second]


def energy_run(store):
    """One and two nodes of two GPUs: boards by their counters, and CPUs that nothing measures."""
    run = write_run(
        store,
        nodes=(1, 2),
        power=True,
        site={"node": {"gpus": 2, "cores": 8}, "power": {"pue": 1.25}},
    )
    package = Source(
        name="CPU (estimated)",
        sensor="estimate",
        covers="package",
        basis="TDP 225 W, idle 60 W",
        product="EPYC",
    )
    lacks = Unavailable(sensor="rapl", reason="powercap counters are not readable", do="see docs/power.md")
    for index, hosts in ((1, ("node1",)), (2, ("node1", "node2"))):
        clocks_s = dict.fromkeys(hosts, 0.0)
        folder = record(run, index, Recording(images_per_s=RATES[index - 1], clocks_s=clocks_s))
        for host in hosts:
            boards = {
                make_board(host, place): plant(300.0 + 20 * place + 10 * index, place) for place in range(2)
            }
            estimate = {"power_w": 140.0, "power_low_w": 95.0, "power_high_w": 190.0, "utilisation": 0.48}
            sources = {**boards, package: lambda at_s, estimate=estimate: estimate}
            write_trace(folder, host, sources, begin_s=95.0, end_s=145.0, unavailable=[lacks])
    return [run]


def make_board(host, place):
    return Source(
        name=f"GPU-{host}-{place}",
        sensor="nvml",
        covers="gpu",
        product="NVIDIA H100 80GB HBM3",
        uuid=f"GPU-{host}-{place}",
        counter=True,
        counter_step_j=0.001,
        power="instant",
        update_s=0.1,
        averaging_s=0.025,
        limit_w=700.0,
    )


def plant(watts, place):
    """The second board's power readings are 7 % too high, and it runs into its limit now and then."""

    def look(at_s):
        read = {"energy_j": watts * at_s, "power_w": watts * (1 + 0.07 * place), "utilisation": 0.93}
        reasons = ["power cap"] if place and round(at_s * 10) % 4 == 0 else []
        return read | {"reasons": reasons, "sm_clock_mhz": 1980.0, "temperature_c": 61.0}

    return look


RUNS = {
    "scaling": scaling_run,
    "killed": killed_run,
    "digits": digits_run,
    "rehearsal": rehearsal_run,
    "two-runs": two_runs,
    "energy": energy_run,
}


def build(make, store, *, force=False):
    return report.build([analyse_run(run) for run in make(store)], force=force)


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("HPCDL_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name}: HPCDL_UPDATE_GOLDEN=1 writes it anew"


def settle(text: str, store: Path) -> str:
    """Without what differs from one test run to the next, or from one processor to another."""
    if text.startswith("{"):
        text = json.dumps(
            json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}")), indent=2
        )
    return text.replace(str(store), "/store")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("suffix", ["md", "json", "80.txt", "120.txt"])
def test_golden(name, suffix, tmp_path):
    writers = {
        "md": as_markdown.render,
        "json": as_json.render,
        "80.txt": lambda content: as_terminal.write(content, width=80),
        "120.txt": lambda content: as_terminal.write(content, width=120),
    }
    # A fixed place, as long paths break lines.
    content = build(RUNS[name], tmp_path)
    more = tuple(settle(line, tmp_path) for line in content.more)
    content = replace(content, more=more)
    compare(f"report-{name}.{suffix}", writers[suffix](content))


def round_numbers(text: str) -> str:
    """Unrounded numbers to nine digits: the last ones differ from one processor to another."""
    return re.sub(r"-?\d+\.\d{6,}(e[-+]\d+)?", lambda number: f"{float(number[0]):.9g}", text)


@pytest.mark.parametrize("name", RUNS)
def test_golden_csv(name, tmp_path):
    files = as_csv.write_all(build(RUNS[name], tmp_path))
    text = "".join(f"== {file}\n{content}" for file, content in files.items() if file != "checks.csv")
    compare(f"report-{name}.csv.txt", round_numbers(text.replace("\r\n", "\n")))


@pytest.mark.parametrize("name", ["scaling", "rehearsal", "energy"])
def test_golden_html(name, tmp_path):
    """What is in the page, without pictures, styles and scripts: these have tests of their own."""
    page = formats.render(build(RUNS[name], tmp_path), "html")
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page[page.index("<body") :], flags=re.DOTALL)
    compare(f"report-{name}.html", round_numbers(settle(body, tmp_path)))


@pytest.mark.parametrize("suffix", ["md", "json", "80.txt"])
@pytest.mark.parametrize(
    ("name", "content"), [("models", list_models()), ("model-overfeat", describe_model("overfeat"))]
)
def test_golden_models(name, content, suffix):
    writers = {
        "md": as_markdown.render,
        "json": as_json.render,
        "80.txt": lambda c: as_terminal.write(c, width=80),
    }
    compare(f"{name}.{suffix}", writers[suffix](content))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_wider_than_the_terminal(name, width, tmp_path):
    lines = as_terminal.write(build(RUNS[name], tmp_path), width=width).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("form", TEXTS)
@pytest.mark.parametrize("make", [rehearsal_run, killed_run, digits_run])
def test_every_format_says_rehearsal(form, make, tmp_path):
    assert "REHEARSAL" in formats.render(build(make, tmp_path), form)


@pytest.mark.parametrize("form", TEXTS)
def test_every_format_says_published_only_where_it_is(form, tmp_path):
    text = formats.render(build(scaling_run, tmp_path), form)
    assert "published" in text
    assert "REHEARSAL" not in text


@pytest.mark.parametrize("form", TEXTS)
def test_every_format_names_culprit_and_reason(form, tmp_path):
    text = " ".join(formats.render(build(killed_run, tmp_path), form).split()).replace("\\", "")
    assert "rank 2 (node3): killed by signal 9 (SIGKILL) at step 9" in text
    assert "7 steps are kept, marked partial" in text
    assert "the launch stopped after 7 of 40 steps" in text
    assert "ranks 1, 3" not in text.split("were ended")[0]


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_withheld_number_is_not_published_with_its_reason(form, tmp_path):
    text = " ".join(formats.render(build(rehearsal_run, tmp_path), form).split())
    assert "not published: 4 hosts share one boot id" in text


def test_the_same_numbers_in_all_formats(tmp_path):
    content = build(digits_run, tmp_path)
    [launch] = json.loads(as_json.render(content))["launches"]
    rate = launch["images_per_s"]
    assert (rate["value"], rate["unit"]) == (pytest.approx(4756.2), "images/s")
    assert rate["low"] < 4756.2 < rate["high"]
    assert launch["interval"]["value"] == pytest.approx(rate["high"] / rate["value"] - 1)
    assert launch["effective_samples"]["value"] > 10
    assert launch["accuracy"]["value"] == 0.97532
    assert launch["phases"]["compute"]["value"] == pytest.approx(0.70)
    for text in (as_markdown.render(content), as_terminal.write(content)):
        for number in ("4,756", "2,378", "97.5 %", "70.0 %"):
            assert number in text


def test_json_never_has_a_number_where_one_is_missing(tmp_path):
    data = json.loads(as_json.render(build(killed_run, tmp_path)))
    [launch] = data["launches"]
    reason = "the launch stopped after 7 of 40 steps"
    assert launch["images_per_s"] == {"missing": reason, "unit": "images/s"}
    assert launch["step_median_s"]["mark"] == "partial"
    assert data["badges"] == ["FAILED", "REHEARSAL"]
    assert (data["schema"], data["schema_version"]) == ("hpcdl.report", 1)


def test_json_has_all_sections_even_if_empty(tmp_path):
    data = json.loads(as_json.render(report.build([analyse_run(write_run(tmp_path))])))
    assert data["scaling"] == data["hosts"] == []
    assert [launch["state"] for launch in data["launches"]] == ["planned"]
    assert data["badges"] == ["partial"]


def test_json_of_every_run_has_the_same_keys(tmp_path):
    keys = []
    for name, make in RUNS.items():
        data = json.loads(as_json.render(build(make, tmp_path / name)))
        keys.extend([tuple(data), *(tuple(launch) for launch in data["launches"])])
    assert len(set(keys)) == 2


def test_asked_for_efficiency_of_a_rehearsal_is_marked(tmp_path):
    content = build(rehearsal_run, tmp_path, force=True)
    [scaling] = json.loads(as_json.render(content))["scaling"]
    efficiency = scaling["rows"][1]["efficiency"]
    assert (efficiency["value"], efficiency["mark"]) == (pytest.approx(0.7), "rehearsal")
    assert efficiency["low"] < 0.7 < efficiency["high"]
    assert "70.0 % (c)" in as_terminal.write(content, width=120)
    assert content.badges == ("partial", "REHEARSAL")


def short_run(store):
    """Too few steps for an interval, on one rank and on two."""
    run = write_run(store, nodes=(1, 2), steps=20)
    record(run, 1)
    record(run, 2, Recording(images_per_s=1900.0))
    return [run]


def test_what_is_withheld_is_shown_struck_through_where_it_is_asked_for(tmp_path):
    reason = "20 steps are too few for an interval: 30 are needed"
    plain = build(short_run, tmp_path / "plain")
    assert "~~" not in as_terminal.write(plain)
    assert f"not published: {reason}" in " ".join(as_terminal.write(plain).split())
    forced = build(short_run, tmp_path / "forced", force=True)
    for text in (as_terminal.write(forced, width=120), as_markdown.render(forced)):
        assert "~~1,000~~" in text
        assert "~~1,900~~" in text
        assert reason in text.replace("\\", "")
    data = json.loads(as_json.render(forced))
    rate = data["launches"][0]["images_per_s"]
    assert rate == {"missing": reason, "unit": "images/s", "withheld": pytest.approx(1000.0)}
    assert data["scaling"][0]["rows"][1]["efficiency"]["withheld"] == pytest.approx(0.95)
    withheld = [check for check in data["checks"] if check["withholds"] == "yes"]
    assert {(check["check"], check["outcome"]) for check in withheld} == {("steady state", "failed")}


def test_no_steady_state_is_printed_with_its_picture(tmp_path):
    """The second half of the steps takes half as long again."""
    run = write_run(tmp_path, steps=60)
    folder = record(run, 1)
    path = folder.steps_path("node1")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[32:]:
        line["begin_s"] += 0.128 * (line["step"] - 32)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = folder.summary()
    stretch = summary.window.stretches[0]
    longer = stretch.model_copy(update={"end_s": stretch.end_s + 0.128 * 30})
    window = summary.window.model_copy(update={"stretches": (longer,)})
    publish_record(folder.summary_path, summary.model_copy(update={"window": window}))
    text = as_terminal.write(report.build([analyse_run(run)]), width=160)
    assert "not published: no steady state: the step time changed by +50 % at step 30" in text
    [picture] = [line for line in text.splitlines() if "60 step times" in line]
    assert "▁" in picture
    assert "█" in picture


def test_what_holds_for_several_launches_is_said_once(tmp_path):
    text = as_terminal.write(build(scaling_run, tmp_path), width=160)
    assert "launches 1-8: could not look: no foreign load" in text


def test_a_refused_submission(tmp_path):
    run = write_run(tmp_path)
    publish_record(
        run.submission_path,
        Submission(host="login1", submitted_utc="2026-11-22T14:12:00Z", refused="Invalid account"),
    )
    content = report.build([analyse_run(run)])
    assert content.badges == ("FAILED",)
    assert Note("failure", "the job was refused: Invalid account") in content.notes


def test_runs_that_are_one_machine_only_together(tmp_path):
    runs = []
    for number, host_count in enumerate((1, 2)):
        run = write_run(tmp_path, nodes=(host_count,), run_id=f"run{number}")
        record(run, 1, Recording(one_machine=number == 0))
        runs.append(analyse_run(run))
    # node1 under two boot ids was restarted in between; that alone is no disguise.
    assert "REHEARSAL" not in report.build(runs).badges


def colours(environment, **console):
    file = io.StringIO()
    content = Report("runs", "title", ("FAILED",), (), (Note("failure", "why"),))
    as_terminal.render(content, Console(file=file, width=80, _environ=environment, **console))
    return "\x1b[" in file.getvalue()


def test_colour_only_where_it_is_wanted():
    assert colours({"TERM": "xterm-256color"}, force_terminal=True)
    assert not colours({"TERM": "xterm-256color"})
    plain = io.StringIO()
    as_terminal.render(
        Report("runs", "title", ("FAILED",)),
        Console(file=plain, width=80, force_terminal=True, _environ={"TERM": "xterm", "NO_COLOR": "1"}),
    )
    assert "31m" not in plain.getvalue()


class AsciiFile(io.TextIOWrapper):
    def __init__(self):
        super().__init__(io.BytesIO(), encoding="ascii", errors="strict")


def test_a_console_without_unicode(tmp_path):
    file = AsciiFile()
    as_terminal.render(build(digits_run, tmp_path), Console(file=file, width=80, force_terminal=False))
    text = file.buffer.getvalue().decode("ascii")
    assert "compute" in text
    assert "97.5 %" in text
    assert "?" not in text


def test_markup_in_names_stays_text():
    nasty = "[bold]`x` | <b>*y*</b> \\ # [/]"
    table = Table("runs", "Runs", (Column("a", "a", left=True), Column("b", "b")), ((nasty, 1),))
    content = Report("list", nasty, sections=(table,), notes=(Note("info", nasty),))
    assert as_terminal.write(content).count("[bold]`x` | <b>*y*</b> \\ # [/]") == 3
    markdown = as_markdown.render(content)
    row = next(line for line in markdown.splitlines() if line.startswith("|") and "bold" in line)
    assert row.replace("\\|", "").count("|") == 3
    assert "<b>" not in markdown.replace("\\<", "")


def test_a_long_table_is_cut_for_people_and_whole_in_json():
    rows = tuple((f"node{number}", number) for number in range(500))
    table = Table("hosts", "Hosts", (Column("host", "host"), Column("ranks", "ranks")), rows, limit=8)
    content = Report("runs", "title", sections=(table,))
    assert "… and 492 more" in as_terminal.write(content)
    assert len(json.loads(as_json.render(content))["hosts"]) == 500


def test_reasons_below_a_table_stand_once():
    absent = Quantity(Missing(missing="nobody looked"), "s")
    columns = tuple(Column(name, name) for name in "ab")
    table = Table("runs", "Runs", columns, ((absent, absent), (absent, Quantity(0.0, "s"))))
    text = as_terminal.write(Report("list", "title", sections=(table,)))
    assert text.count("nobody looked") == 1
    assert text.count("— (a)") == 3
    assert "0 s" in text


def test_the_list_of_runs(tmp_path):
    scaling_run(tmp_path)
    broken = write_run(tmp_path, nodes=(4,), run_id="20261122-150000-aaaa", model="overfeat")
    record(broken, 1, BROKEN)
    torn = write_run(tmp_path, run_id="20261122-160000-bbbb")
    torn.job_path.write_text("{")
    content = list_runs(read_stores(Stores([Store(tmp_path)])))
    rows = json.loads(as_json.render(content))["runs"]
    assert [(row["state"], row["model"], row["nodes"]) for row in rows] == [
        ("completed", "alexnet", 4),
        ("failed", "overfeat", 4),
    ]
    # The two launches on four nodes: a harmonic mean.
    assert rows[0]["images_per_s"]["value"] == pytest.approx(3700 * 2 / (1 / 1.003 + 1 / 1.007))
    assert "missing" in rows[1]["images_per_s"]
    assert [note.kind for note in content.notes] == ["warning"]
    assert "bbbb" in content.notes[0].text


def test_a_run_is_not_listed_as_fast_as_without_its_exchange(tmp_path):
    run = write_run(tmp_path, nodes=(2,), launches={"attribution": True})
    rates = {"full": 1000.0, "no exchange": 9000.0}
    for launch in run.job().launches:
        record(run, launch.index, Recording(images_per_s=rates.get(launch.variant, 5000.0)))
    [row] = json.loads(as_json.render(list_runs(read_stores(Stores([Store(tmp_path)])))))["runs"]
    assert row["images_per_s"]["value"] == pytest.approx(1000)


def test_meters_do_not_give_away_what_the_gate_withholds(tmp_path):
    result = analyse_run(energy_run(tmp_path)[0])
    reason = "others kept 2 cores busy beside rank 0"
    withheld = tuple(
        replace(launch, images_per_s=Withheld(missing=reason, value=launch.images_per_s), interval=None)
        for launch in result.launches
    )
    meters = json.loads(as_json.render(report.build([replace(result, launches=withheld)])))["meters"]
    assert len(meters) == 9
    for meter in meters:
        assert meter["average_w"]["missing"] == meter["energy_j"]["missing"] == reason
        assert meter["curve"]["values"] == []


def test_the_list_of_no_runs(tmp_path):
    assert "hpcdl run smoke" in as_terminal.write(list_runs(read_stores(Stores([Store(tmp_path / "none")]))))


def test_models_say_what_the_tables_say():
    rows = json.loads(as_json.render(list_models()))["models"]
    assert [row["name"] for row in rows] == list(NETWORKS)
    alexnet = rows[0]
    assert alexnet["parameters"] == 60_965_224
    assert alexnet["train_flops"]["value"] == 4_135_610_496
    assert alexnet["gradient_bytes"]["value"] == 4 * 60_965_224


def test_models_load_no_analysis():
    code = (
        "import sys; from hpcdl.report.models import list_models; from hpcdl.report import as_terminal; "
        "as_terminal.write(list_models()); "
        "print([m for m in ('torch', 'numpy', 'pydantic', 'hpcdl.analysis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- What an interval is good for ----


@pytest.mark.parametrize(("steps", "reached"), [(40, "no"), (240, "yes")])
def test_the_report_says_precise_where_the_worker_stops(steps, reached, tmp_path):
    """Even steps make a narrow interval at once, but 40 may be even by chance."""
    run = write_run(tmp_path, steps=steps, max_steps=steps, precision="1%")
    record(run, 1)
    content = report.build([analyse_run(run)])
    data = json.loads(as_json.render(content))
    assert data["launches"][0]["precision_reached"] == reached
    told = [note.text for note in content.notes if "as good as 40 independent ones where 100" in note.text]
    assert len(told) == (reached == "no")


def test_a_rate_without_an_upper_bound_is_not_published(tmp_path, monkeypatch):
    """One step as long as all others together: the mean step may as well be nothing."""
    monkeypatch.setattr(records_maker, "wobble", lambda step: 37.05 if step == 22 else -0.95)
    run = write_run(tmp_path)
    record(run, 1)
    [row] = json.loads(as_json.render(report.build([analyse_run(run)])))["launches"]
    assert "no upper bound" in row["images_per_s"]["missing"]
    assert (row["interval"], row["steady"]) == (None, "40 of 40")


def test_json_leaves_out_an_end_that_is_nowhere():
    endless = Quantity(1.0, "images/s", low=0.5, high=float("inf"))
    assert as_json.as_value(endless) == {"value": 1.0, "unit": "images/s", "low": 0.5}
