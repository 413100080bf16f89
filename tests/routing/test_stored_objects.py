"""X59: files, batches, vector stores and whatever else a provider keeps belong to the project that made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.kit.management import changed, minted, new_project
from tests.kit.providers import AddProvider
from tests.kit.requests import JSON, MODEL, ask, post, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, echo, frame, json_answer, sse
from tests.kit.upstream.answers import chat_answer, response_object
from tests.kit.waiting import in_force

KINDS = {
    "/files": ("file", "file"),
    "/batches": ("batch", "batch"),
    "/vector_stores": ("vs", "vector_store"),
    "/uploads": ("upload", "upload"),
    "/assistants": ("asst", "assistant"),
    "/threads": ("thread", "thread"),
    "/evals": ("eval", "eval"),
    "/fine_tuning/jobs": ("ftjob", "fine_tuning_job"),
    "/containers": ("cntr", "container"),
    "/videos": ("video", "video"),
}
_serial = count(1)


class Keeper:
    """A provider's account: it makes objects, lists them with pages, and echoes what else it is asked."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.next_id: str | None = None

    def make(self, path: str) -> dict[str, Any]:
        made = {"id": self.next_id or f"{KINDS[path][0]}_{next(_serial)}", "object": path, "model": "gpt"}
        self.next_id = None
        self.objects.setdefault(path, []).append(made)
        return made

    def page(self, path: str, query: str) -> dict[str, Any]:
        asked = parse_qs(query)
        known = self.objects.get(path, [])
        start, limit = 0, int(asked.get("limit", ["20"])[0])
        if "after" in asked:
            start = [each["id"] for each in known].index(asked["after"][0]) + 1
        data = known[start : start + limit]
        ids = [each["id"] for each in data] or [None]
        more = len(known) > start + limit
        return {"object": "list", "data": data, "first_id": ids[0], "last_id": ids[-1], "has_more": more}

    def __call__(self, received: Received) -> Script:
        path = "/" + received.path.removeprefix("/v1").lstrip("/")
        if path.split("/")[1].startswith("at-"):  # a second provider's own address
            path = "/" + path.split("/", 2)[2]
        if received.method == "POST":
            if path in KINDS:
                return json_answer(self.make(path))
            if path == "/chat/completions":
                return chat_answer("hi", id=f"chatcmpl-{next(_serial)}")
            if path == "/responses":
                return json_answer({**response_object("hi"), "id": f"resp_{next(_serial)}"})
            if path.endswith("/complete"):
                return json_answer({"id": path.split("/")[2], "file": {"id": self.make("/files")["id"]}})
        if received.method == "GET" and (path in KINDS or path == "/chat/completions"):
            return json_answer(self.page(path, received.query))
        if received.method == "GET" and path.startswith("/batches/"):
            return json_answer(
                {"id": path[9:], "output_file_id": f"out_{path[9:]}", "error_file_id": f"err_{path[9:]}"}
            )
        if received.method == "GET" and path.startswith("/fine_tuning/jobs/"):
            return json_answer({"id": path[18:], "fine_tuned_model": f"ft:{path[18:]}", "result_files": ["res_1"]})
        return echo(received)


@pytest.fixture
def keeper(upstream: Upstream) -> Keeper:
    upstream.script = found = Keeper()
    return found


@pytest.fixture(scope="module")
def other(router: Sluice) -> str:
    return minted(router, project=new_project(router))[1]


@pytest.fixture(scope="module")
def allowed(router: Sluice) -> str:
    return minted(router, project=new_project(router, foreign_ids="allow"))[1]


def get(server: Sluice, key: str, path: str, method: str = "GET") -> httpx.Response:
    return ask(server, key, path=f"/v1{path}", method=method, content=b"")


def create_object(server: Sluice, key: str, path: str = "/files", **body: Any) -> str:
    answer = post(server, key, path, **body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def at_once(*asks: Callable[[], httpx.Response]) -> Iterator[httpx.Response]:
    """An unknown id is looked for over a second; all of them together take as long."""
    with ThreadPoolExecutor(32) as pool:
        yield from [task.result() for task in [pool.submit(each) for each in asks]]


def test_an_object_is_there_for_its_project_alone(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str
):
    ids = {path: create_object(router, key, path) for path in KINDS}
    _, same = minted(router)
    for path, object_id in ids.items():
        for method, rest in (("GET", ""), ("HEAD", ""), ("POST", "/cancel"), ("GET", "/content"), ("DELETE", "")):
            assert get(router, same, f"{path}/{object_id}{rest}", method).status_code == 200
    before = len(upstream.requests)
    asks = [
        lambda at=f"{path}/{asked}{rest}", method=method: get(router, other, at, method)
        for path, object_id in ids.items()
        for asked in (object_id, "none_1")
        for method, rest in (("GET", "/content"), ("DELETE", ""), ("POST", "/cancel"))
    ]
    answers = list(at_once(*asks))
    for number, (path, object_id) in enumerate(ids.items()):
        code = f"{KINDS[path][1]}_not_found"
        told = [refused(answer, 404, code) for answer in answers[number * 6 : number * 6 + 6]]
        texts = {str(each).replace(object_id, "").replace("none_1", "") for each in told}
        assert len(texts) == 1  # another project's is no different from none
    assert len(upstream.requests) == before


def test_a_stored_chat_is_its_projects(router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str):
    chats = [ask(router, key, store=store).json()["id"] for store in (True, False)]
    for chat in chats:  # which of them the provider has kept it says itself
        assert get(router, key, f"/chat/completions/{chat}/messages").status_code == 200
    refused(get(router, other, f"/chat/completions/{chats[0]}", "DELETE"), 404, "chat_completion_not_found")


NAMING: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "input_file_id": ("/files", "/batches", lambda i: {"input_file_id": i, "endpoint": "/v1/responses"}),
    "file_ids": ("/files", "/vector_stores", lambda i: {"file_ids": [i]}),
    "training_file": ("/files", "/fine_tuning/jobs", lambda i: {"training_file": i, "model": MODEL}),
    "file_search": (
        "/vector_stores", "/responses",
        lambda i: {"model": MODEL, "input": "x", "tools": [{"type": "file_search", "vector_store_ids": [i]}]},
    ),
    "input_file": (
        "/files", "/responses",
        lambda i: {"model": MODEL, "input": [{"role": "user", "content": [{"type": "input_file", "file_id": i}]}]},
    ),
    "file of a chat": (
        "/files", "/chat/completions",
        lambda i: {"model": MODEL, "messages": [{"role": "user", "content": [{"file": {"file_id": i}}]}]},
    ),
    "container": (
        "/containers", "/responses",
        lambda i: {"model": MODEL, "input": "x", "tools": [{"type": "code_interpreter", "container": i}]},
    ),
    "attachments": (
        "/files", "/threads",
        lambda i: {"messages": [{"role": "user", "content": "x", "attachments": [{"file_id": i, "tools": []}]}]},
    ),
    "assistant_id": ("/assistants", "/threads/runs", lambda i: {"assistant_id": i}),
    "the source of an eval": ("/files", "/evals", lambda i: {"data_source": {"source": {"type": "file_id", "id": i}}}),
    "a video": ("/videos", "/videos/edits", lambda i: {"video": {"id": i}, "prompt": "x"}),
    "what is yet to come": ("/files", "/thoughts", lambda i: {"file_id": i}),
}  # fmt: skip


def test_what_a_body_names_is_there_for_its_project_alone(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str
):
    ids = {what: create_object(router, key, kind) for what, (kind, _, _) in NAMING.items()}
    for what, (_, path, body) in NAMING.items():
        assert post(router, key, path, **body(ids[what])).status_code == 200, what
    before = len(upstream.requests)
    asks = [partial(post, router, other, path, **body(ids[what])) for what, (_, path, body) in NAMING.items()]
    for answer, (kind, _, _) in zip(at_once(*asks), NAMING.values(), strict=True):
        refused(answer, 404, f"{KINDS[kind][1]}_not_found")
    assert len(upstream.requests) == before


def test_no_spelling_hides_a_name(router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str):
    own, theirs = create_object(router, other), create_object(router, key)
    begin, end = '{"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {', "}}]}]}"
    chats = [
        f'"fil\\u0065_id": "{theirs}"',
        f'"file_id": "{theirs}", "file_id": "{own}"',
        f'"file_id": "{own}", "file_id": "{theirs}"',
    ]
    bodies = [("/chat/completions", begin + chat + end, JSON) for chat in chats]
    batch = json.dumps({"input_file_id": theirs})
    bodies += [("/batches", batch.replace("input", "\\u0069nput"), JSON)]
    unread = [("/batches", batch, {"content-type": "text/plain"}), ("/batches", batch + "x", JSON)]
    before = len(upstream.requests)
    for answer in at_once(*(lambda b=b: ask(router, other, path="/v1" + b[0], content=b[1].encode(), headers=b[2])
                            for b in bodies)):  # fmt: skip
        refused(answer, 404, "file_not_found")
    for path, content, headers in unread:
        answer = ask(router, other, path="/v1" + path, content=content.encode(), headers=headers)
        refused(answer, 400, "body_not_readable")
    assert len(upstream.requests) == before
    path = f"/v1/containers/{create_object(router, other, '/containers')}/files"
    form = f'--B\r\ncontent-disposition: form-data; name="file_id"\r\n\r\n{theirs}\r\n--B--\r\n'
    answer = ask(
        router, other, path=path, content=form.encode(), headers={"content-type": "multipart/form-data; boundary=B"}
    )
    refused(answer, 400, "body_not_readable")


def test_what_names_nothing_passes(router: Sluice, upstream: Upstream, keeper: Keeper, key: str):
    said = [{"role": "assistant", "content": [{"type": "output_text", "text": "file_id", "annotations": [
        {"type": "file_citation", "file_id": "file-old"}]}]}]  # fmt: skip
    tools = [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"const": "file-x"}}}}]
    answer = post(router, key, "/responses", model=MODEL, input=said, tools=tools, metadata={"file_id": "mine"})
    assert answer.status_code == 200, answer.text
    answer = ask(router, key, messages=[{"role": "user", "content": '{"file_id": "file-x"} \\u0066'}])
    assert answer.status_code == 200, answer.text


def test_it_goes_to_the_provider_and_credential_that_made_it(
    router: Sluice, upstream: Upstream, keeper: Keeper, add_provider: AddProvider, key: str
):
    name = f"at-{next(_serial)}"
    file = create_object(router, key)
    add_provider(
        name, f"/{name}", models={name: "own", MODEL: ""}, credential="own", api_key="sk-maker-canary", weight=1
    )
    video = create_object(router, key, "/videos", model=name)
    for answer in (
        get(router, key, f"/videos/{video}/content"),
        post(router, key, f"/videos/{video}/remix", prompt="x"),
    ):
        assert (answer.status_code, answer.headers["x-provider"]) == (200, name)
    assert upstream.last.header("authorization") == "Bearer sk-maker-canary"
    answer = ask(router, key, file={"file_id": file})
    assert (answer.status_code, answer.headers["x-provider"]) == (200, "openai")
    refused(post(router, key, "/batches", input_file_id=file, video=video), 400, "invalid_value")


def test_what_is_made_with_an_object_is_its_projects(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str
):
    batch, upload, job = (create_object(router, key, path) for path in ("/batches", "/uploads", "/fine_tuning/jobs"))
    get(router, key, f"/batches/{batch}")
    file = post(router, key, f"/uploads/{upload}/complete", part_ids=[]).json()["file"]["id"]
    tuned = get(router, key, f"/fine_tuning/jobs/{job}").json()["fine_tuned_model"]
    paths = [("GET", f"/files/{each}/content") for each in (f"out_{batch}", f"err_{batch}", file, "res_1")]
    paths.append(("DELETE", f"/models/{tuned}"))
    for method, path in paths:
        assert get(router, key, path, method).status_code == 200
    for answer in at_once(*(lambda at=at, method=method: get(router, other, at, method) for method, at in paths)):
        assert answer.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_a_container_that_a_response_made_is_its_projects(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str, stream: bool
):
    container = f"cntr_{next(_serial)}"
    answer = {**response_object("hi"), "id": f"resp_{container}"}
    answer["output"].append({"type": "code_interpreter_call", "id": "ci_1", "container_id": container})
    event = frame({"type": "response.completed", "response": answer}, "response.completed")
    upstream.answers(sse([event]) if stream else json_answer(answer))
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    assert post(router, key, "/responses", model=MODEL, input="x", tools=tools, stream=stream).status_code == 200
    path = f"/containers/{container}/files/cfile_1/content"
    assert get(router, key, path).status_code == 200
    refused(get(router, other, path), 404, "container_not_found")


def ids_of(server: Sluice, key: str, path: str, **params: Any) -> list[str]:
    """All pages, as OpenAI's SDKs ask for them."""
    found: list[str] = []
    query = {"limit": 2, **params}
    while True:
        answer = ask(server, key, path=f"/v1{path}?{httpx.QueryParams(query)}", method="GET")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        ids = [each["id"] for each in page["data"]]
        assert len(ids) <= 2
        assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
        found += ids
        if not ids or not page["has_more"]:
            return found
        query["after"] = ids[-1]


@pytest.mark.parametrize("path", ["/files", "/batches"])
def test_a_list_has_a_projects_own_alone(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str, allowed: str, path: str
):
    keys = {"a": key, "b": other}
    ids: dict[str, list[str]] = {"a": [], "b": [], "-": []}
    for who in "aab--bbbbb-aabba":
        object_id = keeper.make(path)["id"] if who == "-" else create_object(router, keys[who], path)
        ids[who].append(object_id)
    assert ids_of(router, key, path) == ids["a"]
    assert ids_of(router, other, path) == ids["b"]
    assert ids_of(router, allowed, path) == ids["-"]
    fresh = minted(router, project=new_project(router))[1]
    assert ids_of(router, fresh, path) == []
    assert ask(router, key, path=f"/v1{path}?limit=2", method="GET").json() == keeper.page(path, "limit=2")


def test_stored_chats_are_listed_for_their_project(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str
):
    ids = [ask(router, whose, store=True).json()["id"] for whose in (key, other, key)]
    keeper.objects["/chat/completions"] = [{"id": each} for each in ids]
    assert ids_of(router, key, "/chat/completions") == [ids[0], ids[2]]


def test_a_list_that_is_all_others_ends(router: Sluice, upstream: Upstream, keeper: Keeper, key: str):
    keeper.objects["/evals"] = [{"id": f"eval_x{number}"} for number in range(3000)]
    assert "by its id" in refused(get(router, key, "/evals?limit=5"), 403, "list_not_own")["message"]
    upstream.script = lambda _: json_answer({"value": [{"id": "eval_1"}]})
    refused(get(router, key, "/evals"), 502, "upstream_invalid_response")


def test_a_project_may_speak_of_what_nobody_made(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str
):
    project = new_project(router)
    mine = minted(router, project=project)[1]
    theirs = create_object(router, other)
    refused(get(router, mine, "/files/file-old"), 404, "file_not_found")
    changed(router, f"/api/projects/{project}", foreign_ids="allow")
    in_force(lambda: get(router, mine, "/files/file-old").status_code == 200)
    assert post(router, mine, "/batches", input_file_id="file-old").status_code == 200
    assert get(router, mine, "/batches/batch_old").status_code == 200
    answers = at_once(
        lambda: get(router, mine, f"/files/{theirs}"),
        lambda: post(router, mine, "/batches", input_file_id=theirs),
        lambda: get(router, key, "/files/out_batch_old"),
    )
    for answer in answers:
        refused(answer, 404, "file_not_found")
    assert get(router, minted(router, project=new_project(router, foreign_ids="allow"))[1],
               "/files/out_batch_old").status_code == 200  # fmt: skip


@pytest.mark.parametrize("object_id", ["f" * 500, "file 1/ü%", "a" * 200 + "b"])
def test_a_long_or_odd_id_is_an_id(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str, other: str, object_id: str
):
    keeper.next_id = object_id
    create_object(router, key)
    assert post(router, key, "/batches", input_file_id=object_id).status_code == 200
    longer = f"{object_id}x"
    for answer in at_once(*(lambda w=w, i=i: post(router, w, "/batches", input_file_id=i)
                            for w, i in ((other, object_id), (key, longer)))):  # fmt: skip
        refused(answer, 404, "file_not_found")
    if object_id.isalpha():
        assert get(router, key, f"/files/{object_id}").status_code == 200


def test_it_is_known_after_a_restart(start_sluice, upstream: Upstream, keeper: Keeper):
    server = start_sluice()
    key = server.mint()
    other = minted(server, project=new_project(server))[1]
    keeper.next_id = "f" * 300
    ids = [create_object(server, key) for _ in range(2)]
    batch = create_object(server, key, "/batches")
    get(server, key, f"/batches/{batch}")
    ids += [f"out_{batch}", f"err_{batch}"]
    server.rows(expect=4)
    assert server.stop() == 0
    server.launch()
    for object_id in ids:
        assert get(server, key, f"/files/{object_id}").status_code == 200
    for answer in at_once(*(lambda i=i: get(server, other, f"/files/{i}") for i in ids)):
        refused(answer, 404, "file_not_found")


def test_a_request_without_a_model_is_the_providers_to_judge(
    router: Sluice, upstream: Upstream, keeper: Keeper, key: str
):
    upstream.script = None
    assert post(router, key, "/responses", prompt={"id": "pmpt_1"}).status_code == 200
    refused(post(router, key, "/responses", input="hi"), 400, "missing_required_parameter")
    bound = minted(router, budget="5")[1]
    refused(post(router, bound, "/responses", input="hi"), 400, "missing_required_parameter")
    refused(post(router, bound, "/chat/completions", messages=[]), 400, "missing_required_parameter")
    project = new_project(router, unmetered="allow")
    listed = minted(router, allowed_models=["m"], project=project)[1]
    refused(post(router, listed, "/responses", input="hi"), 400, "missing_required_parameter")
    refused(post(router, listed, "/chat/completions", messages=[], model=None), 400, "missing_required_parameter")
    free = minted(router, budget="5", project=project)[1]
    assert post(router, free, "/responses", input="hi").status_code == 200
    assert post(router, free, "/chat/completions", messages=[], model=None).status_code == 200
    assert "model" not in post_body(upstream, -2)


def post_body(upstream: Upstream, index: int) -> dict[str, Any]:
    body: dict[str, Any] = upstream.requests[index].json()
    return body
