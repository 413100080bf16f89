"""Vectors: unit length, the same for the same text, in both encodings."""

from __future__ import annotations

import base64
import math
import struct

import pytest

from tests.kit.simulations import head_of, json_of, play


def embed(given, **members):
    return json_of(play("/embeddings", {"model": "simulator-embedding", "input": given, **members}))


def test_vectors_are_of_length_one_and_depend_on_the_text():
    one, other, again = (item["embedding"] for item in embed(["cat", "dog", "cat"])["data"])
    assert one == again != other
    assert len(one) == 64
    assert math.hypot(*one) == pytest.approx(1, abs=1e-5)


def test_base64_carries_the_same_numbers():
    floats = embed("cat")["data"][0]["embedding"]
    packed = base64.b64decode(embed("cat", encoding_format="base64")["data"][0]["embedding"])
    assert list(struct.unpack("<64f", packed)) == floats


@pytest.mark.parametrize("size", [1, 3, 8, 1536])
def test_dimensions_are_honoured(size):
    assert len(embed("cat", dimensions=size)["data"][0]["embedding"]) == size


@pytest.mark.parametrize(
    "given, count, tokens",
    [("two words", 1, 2), (["a", "b c"], 2, 3), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
def test_every_form_of_input(given, count, tokens):
    answer = embed(given)
    assert [item["index"] for item in answer["data"]] == list(range(count))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


@pytest.mark.parametrize("given", [None, "", [], [""], [[]], [1, "a"], 5, [{}], ["x"] * 2049])
def test_a_bad_input_is_refused(given):
    actions = play("/embeddings", {"model": "m", "input": given})
    assert head_of(actions).status == 400
    assert json_of(actions)["error"]["param"] == "input"


@pytest.mark.parametrize("name, value", [("dimensions", 0), ("dimensions", 10**6), ("encoding_format", "hex")])
def test_a_bad_parameter_is_refused(name, value):
    actions = play("/embeddings", {"model": "m", "input": "x", name: value})
    assert head_of(actions).status == 400
    assert json_of(actions)["error"]["param"] == name
