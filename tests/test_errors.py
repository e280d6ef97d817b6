"""Errors: their classes, messages and attributes, pickling, and the redaction of the API key."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import cstar
from cstar import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    CstarError,
    InternalServerError,
    InvalidParameterError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    WebhookPayloadError,
    WebhookSignatureError,
)
from cstar._call import Call, Subject
from cstar._decode import json_or_none
from cstar._response import ReceivedResponse, raise_for_status
from support import CUSTOMER, CUSTOMERS, DETAIL, ID, KEY, TEAM, URL, Runner, error, ok

if TYPE_CHECKING:
    import respx

GET = f"{CUSTOMERS}/{ID}"


def fail(run: Runner, **options: object) -> APIError:
    """Get a customer, by default without retries, and return the error."""
    with pytest.raises(APIError) as raised:
        run(lambda client: client.customers.get(TEAM, ID), **{"max_retries": 0, **options})
    return raised.value


def test_the_error_tree_is_as_documented() -> None:
    assert {
        name: cls.__mro__[1].__name__
        for name in cstar.__all__
        if isinstance(cls := getattr(cstar, name), type) and issubclass(cls, CstarError)
    } == {
        "CstarError": "Exception",
        "ConfigurationError": "CstarError",
        "InvalidParameterError": "CstarError",
        "WebhookSignatureError": "CstarError",
        "WebhookPayloadError": "CstarError",
        "APIError": "CstarError",
        "APIConnectionError": "APIError",
        "APITimeoutError": "APIConnectionError",
        "APIResponseValidationError": "APIError",
        "APIStatusError": "APIError",
        "BadRequestError": "APIStatusError",
        "AuthenticationError": "APIStatusError",
        "PermissionDeniedError": "APIStatusError",
        "NotFoundError": "APIStatusError",
        "ConflictError": "APIStatusError",
        "UnprocessableEntityError": "APIStatusError",
        "RateLimitError": "APIStatusError",
        "InternalServerError": "APIStatusError",
    }
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidParameterError, ValueError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (503, InternalServerError),
        (599, InternalServerError),
        (302, APIStatusError),
        (304, APIStatusError),
        (402, APIStatusError),
        (418, APIStatusError),
    ],
)
def test_each_status_has_its_error_class(
    api_mock: respx.Router, run: Runner, status: int, kind: type[APIStatusError]
) -> None:
    api_mock.get(GET).respond(status, json=error())
    raised = fail(run)
    assert type(raised) is kind
    assert raised.status_code == status


def test_an_api_error_has_all_documented_fields(api_mock: respx.Router, run: Runner) -> None:
    body = {
        "success": False,
        "error": {
            "type": "invalid_request_error",
            "code": "parameter_missing",
            "message": "The 'title' field is required.",
            "param": "title",
            "doc_url": "https://docs.test/#parameter_missing",
            "request_id": "req_abc123",
        },
        "meta": {"requestId": "req_abc123", "timestamp": "2026-03-30T10:30:00Z"},
    }
    api_mock.get(GET).respond(400, json=body)
    raised = fail(run)
    assert isinstance(raised, BadRequestError)
    assert raised.type == "invalid_request_error"
    assert raised.code == "parameter_missing"
    assert raised.message == "The 'title' field is required."
    assert raised.param == "title"
    assert raised.doc_url == "https://docs.test/#parameter_missing"
    assert raised.request_id == "req_abc123"
    assert raised.body == body
    assert raised.retry_after is None
    assert str(raised) == (
        f"GET {GET} failed with 400 Bad Request: The 'title' field is required. "
        "(parameter_missing, param title, request req_abc123)"
    )


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"success": False, "error": "Invalid API key"}, "Invalid API key", None),
        ({"error": {"code": "RATE_LIMITED", "message": "Slow.", "retryAfter": 60}}, "Slow.", "RATE_LIMITED"),
        ({"message": "Nope."}, "Nope.", None),
        ({"detail": "Nope."}, "Nope.", None),
        ({"error": {"message": ["no", "text"], "code": 7}}, "the response has no error message.", None),
        ({"error": None}, "the response has no error message.", None),
        ([], "the response has no error message.", None),
        (7, "the response has no error message.", None),
    ],
)
def test_older_error_shapes_are_read(
    api_mock: respx.Router, run: Runner, body: object, message: str, code: str | None
) -> None:
    api_mock.get(GET).respond(401, json=body)
    raised = fail(run)
    assert isinstance(raised, AuthenticationError)
    assert (raised.message, raised.code, raised.body) == (message, code, body)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<html><head><TITLE>502 Bad\nGateway</TITLE></head><body>nginx</body>", "'502 Bad Gateway'"),
        (b"upstream connect error", "'upstream connect error'"),
        (b"\xff\xfe\x00rubbish", "rubbish"),
        (b'{"success": fal', '{"success": fal'),
        (b"null", "body is empty, or could not be read"),
    ],
)
def test_an_error_without_json_has_a_readable_message(
    api_mock: respx.Router, run: Runner, content: bytes, expected: str
) -> None:
    api_mock.get(GET).respond(502, content=content)
    raised = fail(run)
    assert isinstance(raised, InternalServerError)
    assert str(raised).startswith(f"GET {GET} failed with 502 Bad Gateway: the response")
    assert expected in str(raised)
    assert len(str(raised)) < 400


@pytest.mark.parametrize(
    ("headers", "body", "request_id"),
    [
        ({"X-Request-Id": "req_header"}, error(), "req_header"),
        ({}, {**error(), "meta": {"requestId": "req_meta"}}, "req_meta"),
        ({}, error(request_id="req_error"), "req_error"),
        ({}, {"error": "text", "meta": "text"}, None),
    ],
)
def test_the_request_id_is_read_from_headers_meta_or_error(
    api_mock: respx.Router, run: Runner, headers: dict[str, str], body: object, request_id: str | None
) -> None:
    api_mock.get(GET).respond(404, json=body, headers=headers)
    raised = fail(run)
    assert isinstance(raised, NotFoundError)
    assert raised.request_id == request_id


def test_a_custom_http_client_does_not_follow_redirects(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(301, headers={"Location": "https://elsewhere.test/x"})
    other = api_mock.get("https://elsewhere.test/x").respond(json=ok(DETAIL))
    fail(run, http_client=run.http_client(follow_redirects=True))
    assert not other.called


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the body is empty"),
        (b"null", "Input should be an object"),
        (b"[]", "Input should be an object"),
        (b"7", "Input should be an object"),
        (b"{}", "data: Field required"),
        (b'{"success": true, "data": {"id": "cus_1"', "the body is not JSON: EOF while parsing"),
        (b"\xef\xbb\xbf <html><title>Welcome</title>{", "begins with 'Welcome'"),
        (b"\x80\x81", "the body is not JSON"),
        (b'{"success": true, "data": null}', "data: Input should be an object"),
        (b'{"success": false, "error": {"message": "Sorry."}}', "it reports an error: Sorry."),
        (b'{"success": false, "error": "Sorry."}', "it reports an error: Sorry."),
        (b'{"success": false, "error": {"code": "sorry"}}', "it reports an error: sorry"),
        (b'{"success": false, "error": {"param": "x"}}', "it reports an error without a message or code"),
        (b'{"success": true, "data": [{"id": "cus_1"}]}', "data: Input should be an object"),
        (b'{"success": true, "data": {"name": "J"}}', "data.id: Field required"),
        (b'{"success": true, "data": {"id": 7}}', "data.id: Input should be a valid string"),
    ],
)
def test_a_success_with_an_undocumented_body_is_a_validation_error(
    api_mock: respx.Router, run: Runner, content: bytes, reason: str
) -> None:
    api_mock.get(GET).respond(200, content=content, headers={"X-Request-Id": "req_9"})
    raised = fail(run)
    assert isinstance(raised, APIResponseValidationError)
    assert raised.status_code == 200
    assert raised.request_id == "req_9"
    assert reason in str(raised)
    assert str(raised).startswith(f"GET {GET} returned 200 OK, but the response is not as documented: ")
    assert str(raised).endswith("(request req_9)")


def test_a_validation_error_names_fields_but_not_values(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(json=ok({**DETAIL, "id": ["private words"], "name": "private words"}))
    raised = fail(run)
    assert "data.id" in str(raised)
    assert "private words" not in str(raised)


def test_a_validation_error_of_a_write_has_the_idempotency_key(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post(CUSTOMERS).respond(201, text="")
    with pytest.raises(APIResponseValidationError) as raised:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io", idempotency_key="k1"))
    assert raised.value.idempotency_key == "k1"


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response stream of these bytes, or one that fails. httpx decompresses `content=` at once, but not a stream."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content
        self.closed = 0

    def __iter__(self):
        if isinstance(self.content, Exception):
            raise self.content
        yield self.content

    async def __aiter__(self):
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def test_a_body_that_cannot_be_decompressed_is_a_validation_error(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(200, headers={"Content-Encoding": "gzip"}, stream=Stream(b"this is not gzip"))
    raised = fail(run)
    assert isinstance(raised, APIResponseValidationError)
    assert "could not be decompressed (gzip)" in str(raised)


def test_a_server_error_that_cannot_be_decompressed_is_retried(api_mock: respx.Router, run: Runner) -> None:
    undecodable = httpx.Response(503, headers={"Content-Encoding": "gzip"}, stream=Stream(b"this is not gzip"))
    api_mock.get(GET).mock(side_effect=[undecodable, httpx.Response(200, json=ok(DETAIL))])
    assert run(lambda client: client.customers.get(TEAM, ID)).id == ID


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), APIConnectionError, "Connection refused"),
        (httpx.ReadTimeout("timed out"), APITimeoutError, "in time after 3 attempts (ReadTimeout: timed out)"),
        (httpx.RemoteProtocolError(""), APIConnectionError, "(RemoteProtocolError)"),
    ],
)
def test_a_connection_error_names_the_url_and_the_reason(
    api_mock: respx.Router, run: Runner, fault: Exception, kind: type[APIConnectionError], reason: str
) -> None:
    api_mock.get(GET).mock(side_effect=fault)
    raised = fail(run, max_retries=2)
    assert type(raised) is kind
    assert str(raised).startswith(f"GET {GET} got no response from https://api.cstar.test/api/v1")
    assert "after 3 attempts" in str(raised)
    assert reason in str(raised)


@pytest.mark.parametrize(
    ("reads_body", "message"), [(True, "Gone."), (False, "the response body is empty, or could not be read.")]
)
def test_a_hook_that_raises_for_status_does_not_change_the_class_of_the_error(
    api_mock: respx.Router, run: Runner, reads_body: bool, message: str
) -> None:
    api_mock.get(GET).respond(404, json=error("resource_missing", "Gone."))

    def hook(response: httpx.Response) -> None:
        if reads_body:
            response.read()
        response.raise_for_status()

    async def async_hook(response: httpx.Response) -> None:
        if reads_body:
            await response.aread()
        response.raise_for_status()

    hooks = {"response": [hook if run.kind == "sync" else async_hook]}
    raised = fail(run, http_client=run.http_client(event_hooks=hooks))
    assert type(raised) is NotFoundError
    assert raised.message == message


ERRORS = [
    CstarError("a"),
    ConfigurationError("a"),
    InvalidParameterError("a", param="name"),
    WebhookSignatureError("a"),
    WebhookPayloadError("a"),
    APIConnectionError("a", attempts=3, idempotency_key="k"),
    APITimeoutError("a", attempts=3, idempotency_key="k"),
    APIResponseValidationError("a", status_code=200, body={"x": [1]}, request_id="r", attempts=2, idempotency_key="k"),
    *(
        cls(
            "a",
            status_code=418,
            type="t",
            code="c",
            server_message="m",
            param="p",
            doc_url="d",
            request_id="r",
            body={"x": [1]},
            retry_after=1.5,
            attempts=2,
            idempotency_key="k",
        )
        for cls in [APIStatusError, *APIStatusError.__subclasses__()]
    ),
]


@pytest.mark.parametrize("original", ERRORS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_every_error_survives_pickle_and_copy_with_its_attributes(original: CstarError, protocol: int) -> None:
    for twin in (pickle.loads(pickle.dumps(original, protocol)), copy.deepcopy(original)):
        assert type(twin) is type(original)
        assert (str(twin), vars(twin)) == (str(original), vars(original))
    assert original.message == ("m" if isinstance(original, APIStatusError) else "a")


@pytest.mark.parametrize("cls", APIStatusError.__subclasses__())
def test_an_error_built_from_its_text_alone_has_a_status(cls: type[APIStatusError]) -> None:
    # Result backends that store exceptions as JSON restore them like this.
    assert cls("text").status_code == cls.status_code > 0


ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
FAULTS: dict[str, Exception | httpx.Response] = {
    "error": httpx.Response(401, json=error("invalid_api_key", f"No such key: Bearer {KEY}")),
    "error, escaped": httpx.Response(401, content=f'{{"error": {{"message": "{ESCAPED}", "list": ["{ESCAPED}"]}}}}'),
    "error, as a name": httpx.Response(401, json={"error": {KEY: 1, "code": KEY}}),
    "html": httpx.Response(500, text=f"<html>Authorization: {KEY}</html>"),
    "location": httpx.Response(302, headers={"Location": f"https://elsewhere.test/?key={KEY}"}),
    "request id": httpx.Response(404, headers={"X-Request-Id": KEY}),
    "success false": httpx.Response(200, json={"success": False, "error": f"Bearer {KEY}"}),
    "success in html": httpx.Response(200, text=f"<title>{KEY}</title>"),
    "other json": httpx.Response(200, json={"data": {"id": [KEY], "tags": {KEY: KEY}}}),
    "no response": httpx.ReadError("broken"),
    "malformed": httpx.RemoteProtocolError(f"illegal status line: b'{KEY}'"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_error_log_line_or_traceback_contains_the_api_key(
    api_mock: respx.Router, run: Runner, caplog: pytest.LogCaptureFixture, fault: Exception | httpx.Response
) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.Response(500), fault])
    with caplog.at_level(logging.DEBUG):
        raised = fail(run, max_retries=1)
    texts = [str(raised), repr(raised), repr(vars(raised)), repr(raised.args), caplog.text]
    texts += traceback.format_exception(raised)
    texts += [str(pickle.dumps(raised))]
    cause = raised.__cause__
    if isinstance(cause, httpx.RequestError):
        texts += [str(cause.request.headers.raw)]
    assert KEY not in "".join(texts)
    assert "attempt 2" in caplog.text


HTTPX_ERRORS = [
    error
    for error in vars(httpx).values()
    if isinstance(error, type) and issubclass(error, httpx.RequestError) and error is not httpx.RequestError
]


@pytest.mark.parametrize("kind", HTTPX_ERRORS)
def test_every_httpx_error_becomes_a_connection_error(
    api_mock: respx.Router, run: Runner, kind: type[httpx.RequestError]
) -> None:
    api_mock.get(GET).mock(side_effect=kind("something"))
    assert isinstance(fail(run), APIConnectionError)


@pytest.mark.parametrize("location", ["mailto:ops@x.test", "javascript:alert(1)"])
def test_a_redirect_to_an_invalid_url_is_a_validation_error(api_mock: respx.Router, run: Runner, location: str) -> None:
    route = api_mock.post(CUSTOMERS).respond(302, headers={"Location": location})
    with pytest.raises(APIResponseValidationError, match="its target is not a URL") as raised:
        run(lambda client: client.customers.create(TEAM, name="J", email="j@x.io", idempotency_key="k1"))
    assert route.call_count == 1
    assert raised.value.idempotency_key == "k1"


def test_an_error_status_with_a_truncated_body_is_not_retried(run: Runner) -> None:
    requests: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        truncated = httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        return httpx.Response(409, stream=Stream(truncated))

    with pytest.raises(ConflictError, match="could not be read"):
        run(
            lambda client: client.customers.create(TEAM, name="J", email="j@x.io"),
            http_client=run.http_client(transport=httpx.MockTransport(respond)),
        )
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [("Slow down", "Slow down."), ("Slow down.", "Slow down."), ("Slow down!", "Slow down!"), ("Why?", "Why?")],
)
def test_a_message_gets_a_full_stop_before_the_next_sentence_if_it_has_none(
    api_mock: respx.Router, run: Runner, message: str, sentence: str
) -> None:
    api_mock.get(GET).respond(429, json=error(message=message), headers={"Retry-After": "90.2"})
    assert f"{sentence} Retry after 91 s." in str(fail(run))


def test_a_stream_that_fails_is_closed(run: Runner) -> None:
    stream = Stream(httpx.ReadError("broken"))
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=stream))
    fail(run, http_client=run.http_client(transport=transport))
    assert stream.closed == 1


def test_a_conflict_after_a_lost_response_mentions_the_earlier_attempt(api_mock: respx.Router, run: Runner) -> None:
    conflict = httpx.Response(409, json=error("resource_already_exists", "Taken"))
    api_mock.post(CUSTOMERS).mock(side_effect=[httpx.ReadTimeout(""), conflict, conflict])

    def create(client: Any) -> Any:
        return client.customers.create(TEAM, name="J", email="j@x.io")

    with pytest.raises(
        ConflictError, match=r"Taken\. An earlier attempt got no response: the conflict may be with its result\."
    ):
        run(create)
    with pytest.raises(ConflictError) as raised:
        run(create)
    assert "earlier attempt" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "content", "sentence"),
    [
        (401, b'{"detail": "Nope"}', "401 Unauthorized: Nope"),
        (599, b'{"detail": "Nope."}', "599: Nope."),
        (502, b"", "502 Bad Gateway: the response body is empty, or could not be read."),
        (410, b"7", "410 Gone: the response has no error message."),
    ],
)
def test_a_message_has_no_placeholders_for_missing_fields(
    api_mock: respx.Router, run: Runner, status: int, content: bytes, sentence: str
) -> None:
    api_mock.get(GET).respond(status, content=content)
    assert str(fail(run)) == f"GET {GET} failed with {sentence}"


@pytest.mark.parametrize(
    "start",
    [
        b'\r\n {"name": ',
        b'[{"name": ',
        b" [",
        b'{"data": [{"name": ',
        b'\xef\xbb\xbf{"name": ',
        b"\xff\xfe[",
        b"callback([",
    ],
)
def test_truncated_json_is_not_quoted(api_mock: respx.Router, run: Runner, start: bytes) -> None:
    api_mock.get(GET).respond(200, content=start + b'"Private Words')
    raised = fail(run)
    assert "but the response is not as documented: the body is not JSON: " in str(raised)
    assert "Private" not in str(raised)


@pytest.mark.parametrize(
    ("length", "quoted"), [(120, "x" * 120), (121, "x" * 120 + "…"), (5000, "x" * 120 + "…")], ids=[120, 121, 5000]
)
def test_a_body_that_is_not_json_is_quoted_up_to_120_characters(
    api_mock: respx.Router, run: Runner, length: int, quoted: str
) -> None:
    api_mock.get(GET).respond(502, text="x" * length)
    assert f"'{quoted}'" in str(fail(run))


@pytest.mark.parametrize(("status", "redirects"), [(300, True), (308, True), (400, False), (201, False)])
def test_only_a_redirect_mentions_its_location(
    api_mock: respx.Router, run: Runner, status: int, redirects: bool
) -> None:
    api_mock.get(GET).respond(status, headers={"Location": "https://elsewhere.test/"})
    assert ("it redirects to https://elsewhere.test/" in str(fail(run))) is redirects


def test_a_validation_error_has_the_body_and_the_number_of_attempts(api_mock: respx.Router, run: Runner) -> None:
    body = {"success": True, "data": {"id": 7}}
    api_mock.get(GET).mock(side_effect=[httpx.Response(503), httpx.Response(200, json=body)])
    raised = fail(run, max_retries=1)
    assert isinstance(raised, APIResponseValidationError)
    assert (raised.body, raised.attempts) == (body, 2)


def test_a_traceback_with_locals_contains_no_key_and_no_request_body() -> None:
    call = Call("POST", CUSTOMERS, json_or_none, body=b"Private Words")
    received = ReceivedResponse(500, httpx.Headers(), b"", KEY)
    with pytest.raises(InternalServerError) as raised:
        raise_for_status(call, received)
    text = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert "received = ReceivedResponse(status_code=500" in text
    assert KEY not in text
    assert "Private" not in text


# ── Headers and was_sent ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_with_a_response_has_its_headers_without_the_key(api_mock: respx.Router, run: Runner) -> None:
    headers = {"X-Request-Id": "req_1", "X-Echo": f"Bearer {KEY}"}
    api_mock.get(GET).mock(
        side_effect=[httpx.Response(404, headers=headers), httpx.Response(200, text="[]", headers=headers)]
    )
    for expected in (APIStatusError, APIResponseValidationError):
        with pytest.raises(expected) as raised:
            run(lambda client: client.customers.get(TEAM, ID))
        assert type(raised.value.headers) is dict
        assert (raised.value.headers["x-request-id"], raised.value.headers["x-echo"]) == ("req_1", "Bearer [hidden]")
        assert pickle.loads(pickle.dumps(raised.value)).headers == raised.value.headers


@pytest.mark.parametrize(
    ("error", "was_sent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("slow"), False),
        (httpx.PoolTimeout("full"), False),
        (httpx.ProxyError("403 Forbidden"), False),
        (httpx.ReadTimeout("slow"), True),
        (httpx.ReadError("reset"), True),
        (httpx.WriteError("reset"), True),
        (httpx.RemoteProtocolError("nonsense"), True),
    ],
)
def test_was_sent_reports_whether_the_request_was_sent(
    api_mock: respx.Router, run: Runner, error: Exception, was_sent: bool
) -> None:
    api_mock.get(GET).mock(side_effect=error)
    raised = fail(run)
    assert isinstance(raised, APIConnectionError)
    assert raised.was_sent is pickle.loads(pickle.dumps(raised)).was_sent is was_sent


def test_was_sent_considers_all_attempts(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).mock(side_effect=[httpx.ReadError("reset"), httpx.ConnectError("refused")])
    raised = fail(run, max_retries=1)
    assert isinstance(raised, APIConnectionError)
    assert raised.was_sent


# ── Responses about another customer ─────────────────────────────────────────────────────────────────────────────────

UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.mark.parametrize(
    ("requested", "received", "is_other"),
    [
        ("cus_1", "cus_2", True),
        ("cus_1", "cus_1", False),
        ("cus_Ab", "cus_aB", False),
        (UUID, UUID.upper(), False),
        (UUID, UUID.replace("7c", "8c"), True),
        (UUID, "cus_1", False),
        ("cus_1", UUID, False),
        ("1", "2", True),
        ("cus_1", "tkt_1", False),
    ],
)
def test_the_id_of_a_response_is_compared_with_the_requested_one(requested: str, received: str, is_other: bool) -> None:
    assert (Subject(requested).mismatch(SimpleNamespace(id=received)) is not None) is is_other


@pytest.mark.parametrize(
    ("sent", "stored", "is_other"),
    [
        ("Jane@Example.com", "jane@example.com", False),
        (" jane@example.com", "jane@example.com", False),
        ("jane@example.com", "ann@example.com", True),
        ("jane@bücher.example", "jane@xn--bcher-kva.example", False),
    ],
)
def test_the_email_address_of_a_response_is_compared_with_the_one_sent(sent: str, stored: str, is_other: bool) -> None:
    assert (Subject(email=sent).mismatch(SimpleNamespace(email=stored)) is not None) is is_other


@pytest.mark.parametrize(
    "action",
    [
        lambda client: client.customers.get(TEAM, "cus_1"),
        lambda client: client.customers.update(TEAM, "cus_1", name="J"),
        lambda client: client.customers.delete(TEAM, "cus_1"),
        lambda client: client.customers.with_raw_response.get(TEAM, "cus_1"),
    ],
)
def test_a_response_about_another_customer_is_rejected(api_mock: respx.Router, run: Runner, action: Any) -> None:
    api_mock.route().respond(json=ok({**CUSTOMER, "id": "cus_2", "deleted": True}))
    with pytest.raises(APIResponseValidationError, match=r"it is about 'cus_2', not 'cus_1'. This is probably"):
        run(action).parse()


@pytest.mark.parametrize(
    "action",
    [
        lambda client: client.customers.create(TEAM, name="J", email="ann@example.com"),
        lambda client: client.customers.update(TEAM, ID, email="ann@example.com"),
    ],
)
def test_a_response_with_another_email_address_is_rejected(api_mock: respx.Router, run: Runner, action: Any) -> None:
    api_mock.route().respond(json=ok(CUSTOMER))
    with pytest.raises(APIResponseValidationError, match="its email address is not the one that was sent"):
        run(action)


class SlottedStream:
    """A network stream of a custom transport that does not support weak references."""

    __slots__ = ()


@pytest.mark.parametrize("make", [SlottedStream, SimpleNamespace], ids=["without weak references", "garbage collected"])
def test_a_custom_transport_may_have_any_network_stream(run: Runner, make: type) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=ok(CUSTOMER), extensions={"network_stream": make()})

    http_client = run.http_client(transport=httpx.MockTransport(respond))
    with pytest.raises(APIResponseValidationError, match="it is about"):
        run(lambda client: client.customers.get(TEAM, "cus_other"), http_client=http_client)


@pytest.mark.parametrize("body", [b"<title>404</title>", b'{"detail": "Not Found"}', b""])
def test_a_404_that_is_not_from_the_api_names_the_url_and_base_url(
    api_mock: respx.Router, run: Runner, body: bytes
) -> None:
    api_mock.get("/auth/whoami").respond(404, content=body)
    with pytest.raises(NotFoundError) as raised:
        run(lambda client: client.whoami())
    assert str(raised.value).endswith(f"There is nothing at {URL}/auth/whoami. Is base_url={URL!r} right?")


def test_a_404_of_the_api_does_not_mention_the_base_url(api_mock: respx.Router, run: Runner) -> None:
    api_mock.get(GET).respond(404, json=error("resource_missing", "No such customer."))
    assert "base_url" not in str(fail(run))


def test_a_404_about_a_parameter_does_not_mention_the_base_url(api_mock: respx.Router, run: Runner) -> None:
    api_mock.post("/tickets").respond(404, json=error("resource_missing", "No such customer.", param="customerId"))
    with pytest.raises(NotFoundError) as raised:
        run(lambda client: client.request("POST", "/tickets", json={"customerId": "cus_1"}))
    assert "base_url" not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "error": {"code": "parameter_missing", "message": "m", "field": "email"}},
        {"success": False, "error": {"code": "parameter_missing", "message": "m", "param": "email", "field": "x"}},
        {"success": False, "error": "m", "field": "email", "code": "parameter_missing"},
    ],
)
def test_the_rejected_parameter_is_read_from_param_or_field(api_mock: respx.Router, run: Runner, body: Any) -> None:
    api_mock.get(GET).respond(400, json=body)
    raised = fail(run)
    assert isinstance(raised, APIStatusError)
    assert (raised.param, raised.code, raised.message) == ("email", "parameter_missing", "m")
