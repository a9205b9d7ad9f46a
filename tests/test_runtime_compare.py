"""Comparison and provenance on plain data: what counts as a difference, and whose fault it is."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given
from nbformat.v4 import new_output
from prov.model import ProvDocument

from provcrt_kernel.provenance.compare import Difference, Step, Verdict, difference, excuses
from provcrt_kernel.provenance.document import Activity, execution_document
from provcrt_kernel.provenance.files import FileVersion, parts

texts = st.text(st.characters(codec="utf-8"), max_size=30)
outputs = st.one_of(
    st.builds(
        lambda name, text: new_output("stream", name=name, text=text),
        st.sampled_from(["stdout", "stderr"]),
        texts,
    ),
    st.builds(
        lambda text: new_output("display_data", data={"text/plain": text, "text/html": f"<b>{text}</b>"}),
        texts,
    ),
    st.builds(
        lambda text, n: new_output("execute_result", data={"text/plain": text}, execution_count=n),
        texts,
        st.integers(1, 9),
    ),
    st.builds(lambda name, value: new_output("error", ename=name, evalue=value, traceback=[]), texts, texts),
)


@given(st.lists(outputs, max_size=6))
def test_nothing_differs_from_itself(shown):
    assert difference(shown, shown) is None


@given(texts, st.integers(0, 30))
def test_where_a_stream_breaks_does_not_count(text, at):
    whole = [new_output("stream", text=text)]
    pieces = [new_output("stream", text=text[:at]), new_output("stream", text=text[at:])]
    assert difference(whole, pieces) is None


@given(st.lists(outputs, max_size=4), st.lists(outputs, max_size=4))
def test_a_difference_is_one_line_and_works_both_ways(before, after):
    one, other = difference(before, after), difference(after, before)
    assert (one is None) == (other is None)
    assert one is None or (one and "\n" not in one)


@given(texts, texts)
def test_any_other_text_is_a_difference(before, after):
    pair = [[new_output("stream", text=text + "|")] for text in (before, after)]
    assert (difference(*pair) is None) == (before == after)


def test_addresses_and_counts_are_nobodys_result():
    before = [
        new_output("execute_result", data={"text/plain": "<object at 0x7f1234567890>"}, execution_count=1)
    ]
    after = [
        new_output("execute_result", data={"text/plain": "<object at 0x7fabcdefabcd>"}, execution_count=7)
    ]
    assert difference(before, after) is None
    assert difference(before, []) == "no longer shows text/plain"
    assert difference([], after) == "shows text/plain, which is new"


def test_a_verdict_blames_the_first_cell_without_an_excuse():
    excused = Difference(1, "a", "stdout differs", ("the clock",))
    assert Verdict.of([]).word == "reproduced"
    assert Verdict.of([excused]).word == "volatile"
    verdict = Verdict.of([excused, Difference(2, "b", "no longer shows image/png"), Difference(3, "c", "x")])
    assert (verdict.word, verdict.line) == ("diverged", "diverged at cell 2: no longer shows image/png")


def test_an_excuse_passes_on_to_readers_until_the_name_is_written_anew():
    steps = [
        Step(1, [], ["t"], ("time.time",)),
        Step(2, ["t"], ["u", "f.txt"], ()),
        Step(3, ["x"], ["y"], ()),
        Step(4, ["f.txt"], [], ()),
        Step(5, [], ["t"], ()),
        Step(6, ["t"], [], ()),
    ]
    assert excuses(steps) == {1: ("time.time",), 2: ("t of cell 1",), 4: ("f.txt of cell 2",)}


def test_a_file_plays_a_part_by_who_came_first():
    raw, mid, out, log = (FileVersion(name) for name in ("raw", "mid", "out", "log"))
    steps = [([raw], [mid]), ([mid], [out]), ([log], []), ([], [log])]
    assert parts(steps) == {"raw": "input", "mid": "intermediate", "out": "output", "log": "output"}


@given(st.lists(st.tuples(texts, texts), max_size=5), texts)
def test_any_names_make_a_document_that_other_readers_read(names, user):
    activities = [
        Activity(
            number,
            cell,
            1.0,
            2.0,
            [FileVersion(f"/p/{path}", "0" * 32)],
            [FileVersion(f"/q/{path}")],
            {"reason": path},
        )
        for number, (cell, path) in enumerate(names, 1)
    ]
    document = execution_document(
        "e1",
        notebook=FileVersion("/p/a.ipynb", "1" * 32),
        user=user,
        activities=activities,
        environment={"python": "3"},
        root=Path("/p"),
    )
    again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert again == document
    assert document.get_provn().startswith("document")
