"""gRPC without generated code: messages are bytes. `serve ADDR [CERT KEY]`, or `ask WHAT ADDR [CA]`."""

import concurrent.futures
import hashlib
import pathlib
import sys
import threading

import grpc

BOUND = 20
cancelled = threading.Event()


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-first", metadata["x-asked"]),))
    context.set_trailing_metadata((("x-last", "value"), ("x-raw-bin", b"\x00\xff")))
    return request


def chat(requests, context):
    yield from requests


def upload(requests, context):
    seen = hashlib.sha256()
    for request in requests:
        seen.update(request)
    return seen.hexdigest().encode()


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing, 100 % sure: ü")


def hang(request, context):
    context.add_callback(cancelled.set)
    yield b"begun"
    cancelled.wait(BOUND)


def was_cancelled(request, context):
    return b"yes" if cancelled.wait(BOUND) else b"no"


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
}
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]


def serve(addr, cert=None, key=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
    if cert:
        pair = (pathlib.Path(key).read_bytes(), pathlib.Path(cert).read_bytes())
        server.add_secure_port(addr, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(addr)
    server.start()
    server.wait_for_termination()


def ask_unary(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    for size in (0, 1, 1 << 20, 4 << 20):
        body = bytes(byte & 0xFF for byte in range(size))
        answer, said = call.with_call(body, metadata=(("x-asked", "question"),), timeout=BOUND)
        assert answer == body, f"{len(answer)} bytes instead of {size}"
        assert dict(said.initial_metadata())["x-first"] == "question", said.initial_metadata()
        last = dict(said.trailing_metadata())
        assert last["x-last"] == "value" and last["x-raw-bin"] == b"\x00\xff", last
    return "up to 4 MiB there and back, metadata both ways"


def ask_chat(channel):
    """Each message is sent once the one before it has come back: both directions must flow at once."""
    turn, rounds = threading.Semaphore(1), 200

    def questions():
        for number in range(rounds):
            assert turn.acquire(timeout=BOUND), "no answer"
            yield b"%d" % number * 100

    answers = channel.stream_stream("/test.Echo/Chat")(questions(), timeout=BOUND)
    got = 0
    for answer in answers:
        assert answer == b"%d" % got * 100, answer
        got += 1
        turn.release()
    assert got == rounds, f"{got} answers to {rounds} questions"
    return f"{rounds} rounds, one after the other"


def ask_many(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    calls = [call.future(b"%d" % n * 500, metadata=(("x-asked", "m"),), timeout=BOUND) for n in range(400)]
    assert all(one.result() == b"%d" % n * 500 for n, one in enumerate(calls))
    return f"{len(calls)} calls at once"


def ask_upload(channel):
    seen, block = hashlib.sha256(), bytes(range(256)) * 256

    def blocks():
        for _ in range(512):
            seen.update(block)
            yield block

    answer = channel.stream_unary("/test.Echo/Upload")(blocks(), timeout=BOUND)
    assert answer.decode() == seen.hexdigest()
    return "32 MiB streamed"


def ask_fail(channel):
    try:
        channel.unary_unary("/test.Echo/Fail")(b"", timeout=BOUND)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        assert error.details() == "no such thing, 100 % sure: ü", error.details()
        try:
            channel.unary_unary("/test.Echo/Absent")(b"", timeout=BOUND)
        except grpc.RpcError as unknown:
            assert unknown.code() == grpc.StatusCode.UNIMPLEMENTED, unknown
            return "NOT_FOUND with its message, UNIMPLEMENTED"
    raise AssertionError("no error")


def ask_cancel(channel):
    call = channel.unary_stream("/test.Echo/Hang")(b"", timeout=BOUND)
    assert next(call) == b"begun"
    call.cancel()
    assert channel.unary_unary("/test.Echo/WasCancelled")(b"", timeout=BOUND) == b"yes", "the server was not told"
    return "the server was told"


def ask(what, addr, ca=None):
    if ca:
        channel = grpc.secure_channel(addr, grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes()), OPTIONS)
    else:
        channel = grpc.insecure_channel(addr, OPTIONS)
    with channel:
        print(globals()[f"ask_{what}"](channel))


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
