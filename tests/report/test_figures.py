"""Figures: what their pixels say, and that their texts can be read."""

from __future__ import annotations

import struct
import subprocess
import sys
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from lbsim.model.config import DirectorConfig
from lbsim.model.result import Series
from lbsim.report.figures import connections, draw, first, share, topology
from lbsim.report.figures.sheet import PALETTE, colours, tint
from lbsim.topology import graph
from tests.results import DNS, SECOND, WEB, A, B, C, Run, web

NAMES = ["share.png", "first.png", "connections.png", "topology.png"]


def dest(i, *, v6=False):
    return f"[2001:db8:1234:5678:9abc:def0:1234:{i:x}]:8080" if v6 else f"10.0.{i // 250}.{i % 250 + 1}:80"


def run_of(dests, connections, *, v6=False, clients=3, services=1):
    """So many destinations and connections, one after the other, and a series that grows."""
    run = Run()
    for service in [f"tcp 192.168.1.{i + 10}:80" for i in range(services)]:
        run.service(service)
        for i in range(dests):
            run.dest(dest(i, v6=v6), i % 3, service=service)
        for i in range(connections):
            run.connect(f"10.1.0.{i % clients}:{1000 + i}", dest(i % dests, v6=v6), service=service, at=i * SECOND)
    samples = tuple(range(0, max(connections, 1) * SECOND, SECOND))
    grow = tuple(range(len(samples)))
    run.series = Series(samples, (grow,) * dests * services, (grow,) * dests * services)
    return run


CASES = {
    "no services": Run,
    "no destinations": lambda: Run().service(WEB),
    "no packets": web,
    "1 destination": lambda: run_of(1, 1),
    "2 destinations": lambda: run_of(2, 7),
    "8 destinations": lambda: run_of(8, 70, clients=20),
    "40 destinations": lambda: run_of(40, 70),
    "IPv6": lambda: run_of(5, 70, v6=True),
    "2 services": lambda: run_of(3, 12, services=2),
    "15 services": lambda: run_of(2, 2, services=15),
    "40 destinations of 2 services": lambda: run_of(40, 3, services=2),
}


def sheets(run):
    result, config = run.result(), run.config()
    return {
        "share": share.draw(result, config),
        "first": first.draw(result, 60),
        "connections": connections.draw(result, [SECOND]),
        "topology": topology.draw(result, config),
    }


def texts(sheet):
    """(text, box in pixels) of everything written on a sheet."""
    renderer = FigureCanvasAgg(sheet.figure).get_renderer()
    sheet.figure.draw(renderer)
    written = list(sheet.figure.texts)
    for axes in sheet.figure.axes:
        written += axes.texts
        for axis, on in ((axes.xaxis, "labelbottom"), (axes.yaxis, "labelleft")):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks() if axis.get_tick_params()[on] else []
            written += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in written if text.get_text()]


@cache
def written(case):
    """Figure -> (its texts, its paper) of a case; drawing takes its time."""
    return {name: (texts(sheet), sheet.figure.bbox) for name, sheet in sheets(CASES[case]()).items()}


@pytest.mark.parametrize("case", CASES)
def test_no_text_covers_another(case):
    for name, (found, _) in written(case).items():
        for (one, box), (other, second) in combinations(found, 2):
            apart = box.x1 <= second.x0 or second.x1 <= box.x0 or box.y1 <= second.y0 or second.y1 <= box.y0
            assert apart, f"{name}: {one!r} and {other!r}"


@pytest.mark.parametrize("case", CASES)
def test_all_text_is_on_the_paper(case):
    for name, (found, paper) in written(case).items():
        for text, box in found:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= paper.x1 and box.y1 <= paper.y1
            assert inside, f"{name}: {text!r}"


def shown(sheet):
    return [text for text, _ in texts(sheet)]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(tmp_path):
    run = run_of(3, 12)
    return draw(run.result(), run.config(), tmp_path)


def test_there_are_four_files_in_reading_order(drawn):
    assert [path.name for path in drawn] == NAMES
    assert all(path.is_file() for path in drawn)


def chunks(path):
    """The kinds of a PNG file's chunks: length, kind, content, checksum each (RFC 2083)."""
    content = path.read_bytes()
    at, kinds = 8, []
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        kinds.append(kind.decode())
        at += 12 + length
    return kinds


@pytest.mark.parametrize("number", range(4), ids=NAMES)
def test_files_say_nothing_about_when_and_by_what_they_were_made(drawn, number):
    assert set(chunks(drawn[number])) == {"IHDR", "pHYs", "IDAT", "IEND"}


def test_the_same_result_gives_the_same_bytes(drawn, tmp_path):
    (tmp_path / "again").mkdir()
    run = run_of(3, 12)
    for path, again in zip(drawn, draw(run.result(), run.config(), tmp_path / "again"), strict=True):
        assert path.read_bytes() == again.read_bytes(), path.name


@pytest.mark.parametrize("number", range(4), ids=NAMES)
def test_another_result_gives_other_bytes(drawn, tmp_path, number):
    (tmp_path / "other").mkdir()
    run = run_of(3, 13)
    other = draw(run.result(), run.config(), tmp_path / "other")
    assert drawn[number].read_bytes() != other[number].read_bytes()


@pytest.mark.parametrize("number", range(4), ids=NAMES)
def test_pictures_are_large_enough_to_read_and_small_enough_to_mail(drawn, number):
    height, width, _ = imread(drawn[number]).shape
    assert 900 <= width <= 2400
    assert 250 <= height <= 2400
    assert drawn[number].stat().st_size < 300_000


def test_a_hundred_times_more_destinations_give_figures_of_the_same_height():
    few, many = (sheets(run_of(number, 60)) for number in (30, 3000))
    assert {name: sheet.height for name, sheet in few.items()} == {name: sheet.height for name, sheet in many.items()}


def test_drawing_leaves_pyplot_alone():
    modules = "lbsim.report.figures.topology, lbsim.report.figures.share, lbsim.report.figures.connections"
    code = f"import sys, {modules}; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- pixels -----------------------------------------------------------------------------------------------------------


def pixels(sheet):
    """The sheet as height x width x 3 bytes."""
    canvas = FigureCanvasAgg(sheet.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3]


def of_colour(picture, colour):
    """Which pixels have exactly a colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (picture == wanted).all(axis=2)


def breadth(mask):
    columns = np.nonzero(mask.any(axis=0))[0]
    return columns[-1] - columns[0] + 1


def shared(a, b):
    run = web(A, B)
    for i in range(a + b):
        run.connect(f"10.1.0.1:{1000 + i}", A if i < a else B)
    return run


def test_bars_are_as_long_as_shares_are_large():
    run = shared(3, 1)
    picture = pixels(share.draw(run.result(), run.config()))
    colour = colours(run.result())
    lengths = [breadth(of_colour(picture, colour[name])) for name in (A, B)]
    # 3 : 1, up to the pixel at each end that is blended
    assert lengths[0] / lengths[1] == pytest.approx(3, rel=0.02)


def test_the_ideal_is_marked_where_it_should_be():
    run = shared(3, 1)
    picture = pixels(share.draw(run.result(), run.config()))
    bar = of_colour(picture, colours(run.result())[A])
    rows, columns = np.nonzero(bar)
    middle = bar[(rows.min() + rows.max()) // 2, columns.min() : columns.max() + 1]
    gap = np.nonzero(~middle)[0].mean()
    # half of the connections on a bar of three quarters
    assert gap / len(middle) == pytest.approx(2 / 3, rel=0.02)


def test_a_share_says_what_its_ideal_means():
    run = Run().service(WEB, "sh").dest(A, 3).dest(B, 1)
    assert any("sh's 256 buckets" in text for text in shown(share.draw(run.result(), run.config())))


def test_shares_are_written_beside_their_bars():
    run = shared(3, 1)
    assert {"75.0%", "3", "25.0%", "1"} <= set(shown(share.draw(run.result(), run.config())))


def test_hidden_destinations_are_counted_with_their_connections():
    run = run_of(40, 60)
    # 60 connections in turn over 40 destinations: 20 have 2 and are shown, 20 have 1
    assert "and 20 more destinations with 20 connections" in shown(share.draw(run.result(), run.config()))


def test_there_is_a_dot_per_connection():
    run = shared(6, 2)
    picture = pixels(first.draw(run.result(), 60))
    colour = colours(run.result())
    dots = [of_colour(picture, colour[name]).sum() for name in (A, B)]
    assert dots[0] / dots[1] == pytest.approx(3, rel=0.02)


def test_only_the_first_connections_have_dots():
    run = shared(3, 3)
    rows, got = first.rows_of(run.result(), WEB, 4)
    assert (rows, got) == ([A, B], [0, 0, 0, 1])


def test_first_connections_are_those_of_the_service():
    run = shared(1, 1).service(DNS).dest(C, service=DNS).connect("10.1.0.9:1", C, service=DNS)
    assert first.rows_of(run.result(), DNS, 60) == ([C], [0])


def test_of_many_destinations_those_of_the_first_connections_have_rows_and_the_others_share_one():
    run = run_of(40, 60)
    rows, got = first.rows_of(run.result(), WEB, 25)
    assert len(rows) == 21
    assert rows[-1] == "and 20 more"
    # in turn: the first 20 connections got the first 20 destinations, the next 5 others
    assert got == [*range(20), 20, 20, 20, 20, 20]


def test_a_destination_without_connections_has_a_row_too():
    rows, _ = first.rows_of(shared(1, 0).result(), WEB, 60)
    assert rows == [A, B]


def over_time(active, inactive, *, at=(0,), end=10 * SECOND):
    run = web(A).connect("10.1.0.1:1", A, at=end)
    run.series = Series(at, (active,), (inactive,))
    return run.result()


def test_areas_are_as_high_as_there_are_connections():
    result = over_time((4,), (2,))
    picture = pixels(connections.draw(result))
    colour = colours(result)[A]
    dark, light = (of_colour(picture, shade).sum() for shade in (colour, tint(colour, 0.4)))
    assert dark / light == pytest.approx(2, rel=0.05)


def test_areas_last_as_long_as_their_samples():
    # 4 connections for a quarter of the time, then 1: areas 4 * 2.5 and 1 * 7.5
    result = over_time((4, 1), (0, 0), at=(0, 2_500_000_000))
    picture = of_colour(pixels(connections.draw(result)), colours(result)[A])
    heights = picture.sum(axis=0)
    tall = heights > heights.max() / 2
    assert tall.sum() / (heights > 0).sum() == pytest.approx(0.25, rel=0.02)


def test_changes_of_the_config_are_marked():
    result = over_time((4,), (2,))
    assert any("the config changed" in text for text in shown(connections.draw(result, [SECOND])))


@pytest.mark.parametrize(("end", "unit"), [(SECOND, "ms"), (10 * SECOND, "s"), (900 * SECOND, "min")])
def test_time_has_a_unit_that_fits(end, unit):
    assert f"time in {unit}" in shown(connections.draw(over_time((1,), (0,), end=end)))


def test_without_samples_the_figure_says_so():
    assert "no samples" in shown(connections.draw(web(A).result()))


def test_a_busier_destination_has_a_wider_line():
    run = shared(9, 1)
    picture = pixels(topology.draw(run.result(), run.config()))
    colour = colours(run.result())
    line = [of_colour(picture, tint(colour[name], 0.75)).sum() for name in (A, B)]
    # widths are 1 + 13 * packets / all: 12.7 and 2.3 points
    assert line[0] / line[1] == pytest.approx(12.7 / 2.3, rel=0.25)


def test_nodes_say_who_they_are_and_what_they_got():
    run = shared(2, 1).remove(B)
    words = set(shown(topology.draw(run.result(), run.config())))
    assert {"10.1.0.1", "3 connections", WEB, "rr, 3 connections"} <= words
    assert {A, "2 connections, weight 1", B, "1 connection, removed"} <= words


def test_many_destinations_are_shortened_to_the_busiest_and_one_for_the_others():
    run = run_of(40, 60)
    network = topology.shortened(graph(run.config(), run.result()))
    names = [name for name, kind in network.nodes(data="kind") if kind == "destination"]
    assert names == [*(dest(i) for i in range(20)), "and 20 more destinations"]
    assert network.edges[WEB, "and 20 more destinations"]["connections"] == 20


def test_shortening_keeps_all_traffic():
    run = run_of(40, 60, services=15)
    network = topology.shortened(graph(run.config(), run.result()))
    into = [edge["packets"] for _, end, edge in network.edges(data=True) if network.nodes[end]["kind"] == "destination"]
    # 15 services x 60 connections x 3 packets
    assert sum(into) == 15 * 60 * 3


def test_a_config_without_services_is_drawn_as_an_empty_director():
    words = shown(topology.draw(Run().result(), DirectorConfig()))
    assert {"director", "no services", "no clients"} <= set(words)


def test_a_real_server_has_one_colour_whichever_service_it_serves():
    run = web(A, B).service(DNS).dest(B, service=DNS)
    assert colours(run.result()) == {A: PALETTE[0], B: PALETTE[1]}


def test_more_destinations_than_colours_begin_again():
    names = [dest(i) for i in range(len(PALETTE) + 1)]
    found = colours(web(*names).result())
    assert found[names[0]] == found[names[-1]] == PALETTE[0]


@pytest.mark.parametrize(("strength", "colour"), [(1, "#332288"), (0, "#ffffff"), (0.5, "#9990c4")])
def test_a_tint_lies_between_paper_and_colour(strength, colour):
    # halfway: 0x33 = 51 -> 153, 0x22 = 34 -> 144.5, rounded to even, 0x88 = 136 -> 195.5, likewise
    assert tint("#332288", strength) == colour
