"""F22: the text of a key."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keys.tokens import (
    ALPHABET,
    PUBLIC_ID_CHARS,
    SECRET_CHARS,
    MalformedToken,
    Token,
    hash_secret,
    mask_token,
    new_salt,
    new_token,
    read_token,
    secret_matches,
    write_token,
)

texts = st.text(alphabet=ALPHABET, min_size=PUBLIC_ID_CHARS, max_size=PUBLIC_ID_CHARS)
hidden = st.text(alphabet=ALPHABET, min_size=SECRET_CHARS, max_size=SECRET_CHARS)
tokens = st.builds(Token, texts, hidden)
prefixes = st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=1, max_size=32)


@given(tokens, prefixes)
def test_a_token_is_read_as_it_was_written(token: Token, prefix: str):
    text = write_token(token, prefix)
    assert text.startswith(prefix + token.public_id)
    assert read_token(text, prefix) == token


@given(tokens, prefixes, st.data())
def test_a_token_with_one_changed_character_is_refused(token: Token, prefix: str, data: st.DataObject):
    text = write_token(token, prefix)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    assume(other != text[place])
    with pytest.raises(MalformedToken):
        read_token(text[:place] + other + text[place + 1 :], prefix)


@given(tokens, prefixes, st.data())
def test_a_token_with_two_neighbours_swapped_is_refused(token: Token, prefix: str, data: st.DataObject):
    text = write_token(token, prefix)
    place = data.draw(st.integers(0, len(text) - 2))
    assume(text[place] != text[place + 1])
    with pytest.raises(MalformedToken):
        read_token(text[:place] + text[place + 1] + text[place] + text[place + 2 :], prefix)


@given(tokens, prefixes, st.data())
def test_a_token_that_is_longer_or_shorter_is_refused(token: Token, prefix: str, data: st.DataObject):
    text = write_token(token, prefix)
    place = data.draw(st.integers(0, len(text) - 1))
    more = data.draw(st.text(min_size=1, max_size=5))
    for wrong in (text[:place] + text[place + 1 :], text[:place] + more + text[place:], text + more):
        with pytest.raises(MalformedToken):
            read_token(wrong, prefix)


@pytest.mark.parametrize("other", ["-", " ", "é", "٣", "\0"])
def test_a_character_that_is_in_no_token_is_refused_also_with_the_right_checksum(other: str):
    token = new_token()
    for wrong in (
        token._replace(secret=other + token.secret[1:]),
        token._replace(public_id=other + token.public_id[1:]),
    ):
        with pytest.raises(MalformedToken):
            read_token(write_token(wrong, "sk-sluice-"), "sk-sluice-")


@given(st.text(max_size=100), prefixes)
def test_any_other_text_is_refused_and_nothing_else_raised(text: str, prefix: str):
    with pytest.raises(MalformedToken):
        read_token(text, prefix)


@given(tokens, prefixes, prefixes)
def test_another_installations_prefix_is_refused(token: Token, prefix: str, other: str):
    assume(prefix != other)
    with pytest.raises(MalformedToken):
        read_token(write_token(token, other), prefix)


def test_the_secret_matches_its_own_hash_and_salt_alone():
    token, other, salt = new_token(), new_token(), new_salt()
    stored = hash_secret(token.secret, salt)
    assert secret_matches(token.secret, salt, stored)
    assert not secret_matches(other.secret, salt, stored)
    assert not secret_matches(token.secret, new_salt(), stored)
    assert token.secret.encode() not in stored


def test_a_key_of_an_earlier_version_is_still_one():
    """Its text, and its hash as it is stored: another format or hash would lock everybody out."""
    text = "sk-sluice-abcdefGHI012ABCDEFGHIJKLMNOPQRSTUVWXYZ012345373927ed"
    token = Token("abcdefGHI012", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345")
    stored = bytes.fromhex("8bad2dd70dd19e676453db2f10d57b8edbdce4d5d41ea8c39411c252c043edac")
    assert read_token(text, "sk-sluice-") == token
    assert write_token(token, "sk-sluice-") == text
    assert secret_matches(token.secret, bytes(range(16)), stored)


def test_no_two_tokens_or_salts_are_alike_and_all_are_long():
    made = [new_token() for _ in range(200)]
    assert {len(token.secret) for token in made} == {SECRET_CHARS}
    assert len({token.secret for token in made} | {token.public_id for token in made}) == 400
    assert set("".join(token.secret + token.public_id for token in made)) == set(ALPHABET)
    salts = {new_salt() for _ in range(200)}
    assert ({len(salt) for salt in salts}, len(salts)) == ({16}, 200)


@given(tokens, prefixes)
def test_a_mask_shows_nothing_of_the_secret(token: Token, prefix: str):
    mask = mask_token(token.public_id, prefix)
    assert len(mask) == len(prefix) + 5
    assert mask == f"{prefix}{token.public_id[:4]}…"
