"""P18, beneath the server: however a stream is cut into pieces, it comes out as the same bytes and the same frames."""

from __future__ import annotations

import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.dialects.base import StreamReader
from proxy.steps.stream import read_frames
from proxy.wire.sse import FrameSplitter, data_of, replace_data

LINE_ENDS = (b"\n", b"\r", b"\r\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(str.encode)
field = st.sampled_from([b"data: ", b"data:", b"event: ", b"id: ", b": ", b":", b"retry: ", b"other: ", b"data"])
line = st.builds(bytes.__add__, field, text)
line_end = st.sampled_from(LINE_ENDS)
cuts = st.lists(st.integers(0, 400), max_size=20)


@st.composite
def uniform_frames(draw: st.DrawFn) -> list[bytes]:
    """Frames of a stream that uses one kind of line end, as every real one does."""
    end = draw(line_end)
    return [
        end.join(lines) + end + end
        for lines in draw(st.lists(st.lists(line, min_size=1, max_size=4), min_size=1, max_size=5))
    ]


def pieces_of(stream: bytes, borders: list[int]) -> list[bytes]:
    marks = [0, *sorted(min(border, len(stream)) for border in borders), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(marks)]


def split(pieces: list[bytes]) -> list[bytes]:
    splitter = FrameSplitter()
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    rest = splitter.rest()
    assert splitter.waiting_bytes == 0
    return [*frames, rest] if rest else frames


def data_by_the_standard(stream: bytes) -> list[bytes]:
    """The events' data as the HTML standard reads a stream: line by line, CRLF before CR and LF."""
    events, lines = [], []
    for each in re.split(rb"\r\n|\r|\n", stream.removeprefix(BYTE_ORDER_MARK)):
        name, _, value = each.partition(b":")
        if name == b"data" and each:
            lines.append(value.removeprefix(b" "))
        if not each and lines:
            events.append(b"\n".join(lines))
            lines = []
    return events


@settings(max_examples=500, deadline=None)
@given(stream=st.one_of(st.binary(max_size=300), st.text("\r\nda:t {}", max_size=80).map(str.encode)), borders=cuts)
def test_no_byte_is_lost_added_or_moved(stream: bytes, borders: list[int]):
    assert b"".join(split(pieces_of(stream, borders))) == stream


@settings(max_examples=500, deadline=None)
@given(frames=uniform_frames(), borders=cuts)
@example(frames=[b"event: a\r\ndata: 1\r\n\r\n"], borders=[])
@example(frames=[b"data: {\r\ndata: }\r\n\r\n"], borders=[])
def test_a_frame_ends_at_its_blank_line_and_nowhere_else(frames: list[bytes], borders: list[int]):
    found = split(pieces_of(b"".join(frames), borders))
    assert [data for frame in found if (data := data_of(frame)) is not None] == [
        data for frame in frames if (data := data_of(frame)) is not None
    ]


@settings(max_examples=500, deadline=None)
@given(
    parts=st.lists(st.tuples(line, line_end, st.booleans(), line_end), max_size=8),
    marked=st.booleans(),
    borders=cuts,
)
def test_events_are_read_as_the_standard_reads_them(
    parts: list[tuple[bytes, bytes, bool, bytes]], marked: bool, borders: list[int]
):
    """Also where the line ends are mixed."""
    stream = BYTE_ORDER_MARK if marked else b""
    for content, end, is_last, blank in parts:
        stream += content + end + (blank if is_last else b"")
    stream += b"\n\n"
    frames = split(pieces_of(stream, borders))
    assert [data for frame in frames if (data := data_of(frame)) is not None] == data_by_the_standard(stream)


@given(frames=uniform_frames())
@settings(max_examples=100, deadline=None)
def test_single_bytes_make_the_same_events_as_one_piece(frames: list[bytes]):
    stream = b"".join(frames)
    whole = [data_of(frame) for frame in split([stream])]
    single = [data_of(frame) for frame in split([stream[at : at + 1] for at in range(len(stream))])]
    assert [data for data in single if data is not None] == [data for data in whole if data is not None]


class Rewriting(StreamReader):
    """Hides some frames and writes others anew."""

    def frame(self, frame: bytes) -> bytes:
        data = data_of(frame)
        if data == b"hide":
            return b""
        return frame if data is None else replace_data(frame, data.upper().replace(b"\n", b" "))


@settings(max_examples=500, deadline=None)
@given(
    contents=st.lists(st.sampled_from([b"data: hide", b"data: a", b": b", b"event: c{}data: d", b"id: e"]), max_size=6),
    end=line_end,
    borders=cuts,
)
@example(contents=[b"data: a", b"data: hide", b"data: a"], end=b"\r\n", borders=[10, 24])
def test_what_is_rewritten_is_the_same_for_any_pieces(contents: list[bytes], end: bytes, borders: list[int]):
    def rewritten(pieces: list[bytes]) -> bytes:
        splitter, reader = FrameSplitter(), Rewriting()
        outs = [read_frames(reader, splitter.feed(piece)) for piece in pieces]
        assert all(fault is None for _, fault in outs)
        return b"".join(out for out, _ in outs)

    frames = [content.replace(b"{}", end) + end + end for content in contents]
    stream = b"".join(frames)
    expected = b"".join(Rewriting().frame(frame) for frame in frames)
    assert rewritten([stream]) == expected
    assert rewritten(pieces_of(stream, borders)) == expected
    assert rewritten([stream[at : at + 1] for at in range(len(stream))]) == expected
    assert end == b"\n" or b"\n\n" not in expected


def test_a_frame_leaves_with_its_last_byte():
    for end in LINE_ENDS:
        splitter = FrameSplitter()
        frame = b"data: 1" + end + end[:1]
        assert splitter.feed(frame[:-1]) == []
        assert splitter.feed(frame[-1:]) == [frame]


def test_a_large_frame_in_small_pieces_is_not_searched_again_and_again():
    """Twice the bytes are twice the work; a splitter that starts over with each piece would need minutes here."""
    frame = b"data: " + b"x" * 16_000_000 + b"\n\n"
    assert split([frame[at : at + 1024] for at in range(0, len(frame), 1024)]) == [frame]
