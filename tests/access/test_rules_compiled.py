"""F46: what a project's compiled rules allow, without a server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keys.rules import HeaderMissing, MethodRefused, OriginRefused, ParamRefused, ParamUnreadable, PathRefused
from tests.kit.exchanges import rules_of

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def check(params: dict[str, list[Any]], body: bytes | str, **known: Any) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    rules_of(params=params).check_params(_members.decode(raw), known)


@pytest.mark.parametrize(
    "params,body",
    [
        ({"model": ["gpt-4.1-*"]}, '{"model": "gpt-4.1-mini"}'),
        ({"model": ["gpt-4.1-*", "o4"]}, '{"model": "o4"}'),
        ({"model": ["gpt-4.1-*"]}, '{"messages": []}'),
        ({"temperature": [0, 0.5]}, '{"temperature": 0.50}'),
        ({"temperature": [1]}, '{"temperature": 1.0}'),
        ({"temperature": [1]}, '{"temperature": null}'),
        ({"stream": [True]}, '{"stream": true}'),
        ({"modalities": ["text", "audio"]}, '{"modalities": ["audio", "text"]}'),
        ({"modalities": ["text"]}, '{"modalities": []}'),
        ({"stop": [["a", "b"]]}, '{"stop": ["a", "b"]}'),
        ({"response_format": [{"type": "text"}]}, '{"response_format": {"type": "text"}}'),
        ({"response_format.type": ["json_*"]}, '{"response_format": {"type": "json_object", "x": 1}}'),
        ({"response_format.type": ["json_*"]}, '{"response_format": {}}'),
        ({"response_format.type": ["json_*"]}, '{"response_format": null}'),
        ({"a.b.c": [1]}, '{"a": {"b": {"c": 1}}}'),
        ({"tools.type": ["function"]}, '{"tools": [{"type": "function"}, {"type": "function"}]}'),
    ],
)
def test_allowed_values_pass(params, body):
    check(params, body)


@pytest.mark.parametrize(
    "params,body",
    [
        ({"model": ["gpt-4.1-*"]}, '{"model": "GPT-4.1-mini"}'),
        ({"model": ["gpt-4.1"]}, r'{"model": "gpt-4.1\u0000"}'),
        ({"model": ["gpt"]}, '{"model": ["x"]}'),
        ({"model": ["gpt"]}, '{"model": {"gpt": 1}}'),
        ({"temperature": [0, 0.5]}, '{"temperature": 0.6}'),
        ({"temperature": [1]}, '{"temperature": true}'),
        ({"stream": [True]}, '{"stream": 1}'),
        ({"temperature": [1]}, '{"temperature": "1"}'),
        ({"n": [1]}, '{"n": 100000000000000000000000000000}'),
        ({"modalities": ["text"]}, '{"modalities": ["text", "audio"]}'),
        ({"response_format": [{"type": "text"}]}, '{"response_format": {"type": "text", "more": 1}}'),
        ({"response_format.type": ["json_*"]}, '{"response_format": {"type": "text"}}'),
        ({"a.b.c": [1]}, '{"a": {"b": [{"c": 1}, {"c": 2}]}}'),
        ({"tools.type": ["function"]}, '{"tools": [{"type": "function"}, {"type": "web_search"}]}'),
        ({"tools.type": ["function"]}, '{"tools": [[{"type": "web_search"}]]}'),
    ],
)
def test_other_values_are_refused_by_name(params, body):
    with pytest.raises(ParamRefused) as refused:
        check(params, body)
    (name,) = params
    assert refused.value.param == name
    assert name in str(refused.value)


@pytest.mark.parametrize(
    "params,body",
    [
        ({"temperature": [1]}, '{"Temperature": 2}'),
        ({"response_format.type": ["a"]}, '{"RESPONSE_FORMAT": {"type": "b"}}'),
        ({"response_format.type": ["a"]}, '{"response_format": {"Type": "b"}}'),
        ({"a.b.c": [1]}, '{"a": {"B": {"c": 2}}}'),
        ({"response_format.type": ["a"]}, '{"response_format": {"type": "b", "type": "a"}}'),
        ({"response_format.type": ["a"]}, r'{"response_format": {"type": "b", "ty\u0070e": "a"}}'),
        ({"n": [1]}, '{"n": ' + "1" * 5000 + "}"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(params, body):
    with pytest.raises(ParamUnreadable):
        check(params, body)


@pytest.mark.parametrize("name", ["a.b", "a"])
@pytest.mark.parametrize("depth", [100, 900, 930, 960, 990, 1010, 5000])
def test_nesting_deeper_than_the_stack_is_refused_and_nothing_worse(name, depth):
    nested = b"[" * depth + b'{"b": 2}' + b"]" * depth
    with pytest.raises((ParamRefused, ParamUnreadable)):
        rules_of(params={name: [1]}).check_params({"a": msgspec.Raw(nested)}, {})


def test_a_value_that_was_read_before_is_not_read_again():
    check({"model": ["right"]}, '{"model": "wrong"}', model="right")
    with pytest.raises(ParamRefused, match='Allowed: "right"'):
        check({"model": ["right"]}, '{"model": "right"}', model="wrong")


@pytest.mark.parametrize(
    "said,method,path,headers,error",
    [
        ({"methods": ["POST"]}, "POST", "/v1/x", [], None),
        ({"methods": ["POST"]}, "GET", "/v1/x", [], MethodRefused),
        ({"paths": ["/v1/chat/*"]}, "POST", "/v1/chat/completions", [], None),
        ({"paths": ["/v1/chat/*"]}, "POST", "/v1/embeddings", [], PathRefused),
        ({"paths": ["/v1/models"]}, "GET", "/v1/models/x", [], PathRefused),
        ({"origins": ["https://a.example"]}, "POST", "/v1/x", [], None),
        ({"origins": ["https://a.example"]}, "POST", "/v1/x", [(b"origin", b"https://a.example")], None),
        ({"origins": ["https://a.example"]}, "POST", "/v1/x", [(b"origin", b"http://a.example")], OriginRefused),
        ({"origins": ["https://*.a.example"]}, "POST", "/v1/x", [(b"origin", b"https://b.a.example")], None),
        ({"origins": ["https://*.a.example"]}, "POST", "/v1/x", [(b"origin", b"https://a.example")], OriginRefused),
        ({"headers": {"X-Team": []}}, "POST", "/v1/x", [], HeaderMissing),
        ({"headers": {"X-Team": []}}, "POST", "/v1/x", [(b"x-team", b"any")], None),
        ({"headers": {"X-Team": ["r*"]}}, "POST", "/v1/x", [(b"x-team", b" red ")], None),
        ({"headers": {"X-Team": ["r*"]}}, "POST", "/v1/x", [(b"x-team", b"blue")], HeaderMissing),
        ({"headers": {"X-Team": ["r*"]}}, "POST", "/v1/x", [(b"x-team", b"red"), (b"x-team", b"blue")], HeaderMissing),
    ],
)
def test_method_path_origin_and_headers(said, method, path, headers, error):
    if error is None:
        rules_of(**said).check_head(method, path, headers)
        return
    with pytest.raises(error):
        rules_of(**said).check_head(method, path, headers)


def test_a_forms_values_are_text_or_what_they_spell():
    both = rules_of(params={"temperature": [0, 0.5], "model": ["whisper-*"], "a.b": [1]})
    assert both.form_fields == {"temperature", "model"}
    both.check_form_field("temperature", "0.5")
    both.check_form_field("model", "whisper-1")
    both.check_form_field("other", "x")
    for name, text in (("temperature", "1"), ("temperature", '"0.5"'), ("model", "gpt"), ("temperature", "{")):
        with pytest.raises(ParamRefused):
            both.check_form_field(name, text)


@pytest.mark.parametrize(
    "values, told", [([], "requires the header X-Team."), (["r*", "é"], 'X-Team with one of the values "r*", "é".')]
)
def test_a_missing_header_is_told_with_its_values(values, told):
    with pytest.raises(HeaderMissing) as missing:
        rules_of(headers={"X-Team": values}).check_head("GET", "/v1/x", [])
    assert str(missing.value).endswith(told)
