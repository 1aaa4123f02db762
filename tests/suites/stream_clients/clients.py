"""A gRPC server and a WebSocket server, and clients of both through the edge, for the suite
`stream_clients`. It prints the servers' ports, reads the edge's address and a mandate for each
case, says when all cases are open, waits until their sessions are revoked, and prints how each
has ended."""

import base64
import http.client
import json
import os
import struct
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import grpc
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

PAUSE = 0.02
# Longer than anything here takes.
DEADLINE = 60
SERVICE = "t.T"


class Seen:
    """What the servers have seen of each case."""

    def __init__(self):
        self.lock = threading.Lock()
        self.messages, self.ended = {}, {}

    def message(self, case):
        with self.lock:
            self.messages[case] = self.messages.get(case, 0) + 1

    def end(self, case, how):
        with self.lock:
            self.ended.setdefault(case, how)


SEEN = Seen()


def case_of(context):
    return dict(context.invocation_metadata())["case"]


def open_call(context):
    """The case of a call. What ends it before its handler has is noted."""
    case = case_of(context)
    gone = threading.Event()

    def end():
        SEEN.end(case, "cancelled")
        gone.set()

    if not context.add_callback(end):
        end()
    return case, gone


def complete(case, gone):
    """The client has sent all, or the call was cancelled: one that is complete goes on."""
    if not gone.wait(DEADLINE / 4):
        SEEN.end(case, "complete")


def never(request, context):
    """Answers nothing, not even headers."""
    case, gone = open_call(context)
    SEEN.message(case)
    gone.wait(DEADLINE)
    return b""


def never_stream(request, context):
    yield from ()
    never(request, context)


def talk(request, context):
    """Sends a message, and more of them if the client asks for it."""
    case, gone = open_call(context)
    SEEN.message(case)
    yield b"first"
    while not gone.wait(PAUSE):
        if request == b"talk":
            yield b"more"


def listen(requests, context):
    """Counts what comes. It never answers."""
    case, gone = open_call(context)
    try:
        for _ in requests:
            SEEN.message(case)
    except Exception:
        pass
    complete(case, gone)
    return b""


def echo(requests, context):
    case, gone = open_call(context)
    try:
        for one in requests:
            SEEN.message(case)
            yield one
    except Exception:
        pass
    complete(case, gone)


def listen_stream(requests, context):
    yield from ()
    listen(requests, context)


def grpc_server():
    server = grpc.server(ThreadPoolExecutor(32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {
        "Never": grpc.unary_unary_rpc_method_handler(never),
        "NeverStream": grpc.unary_stream_rpc_method_handler(never_stream),
        "Talk": grpc.unary_stream_rpc_method_handler(talk),
        "Listen": grpc.stream_unary_rpc_method_handler(listen),
        "ListenStream": grpc.stream_stream_rpc_method_handler(listen_stream),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def socket_server():
    def handle(connection):
        case = connection.request.headers["case"]
        talks = connection.request.headers.get("talks")
        stop = threading.Event()

        def speak():
            try:
                while not stop.wait(PAUSE):
                    connection.send("more " * 50)
            except ConnectionClosed:
                pass

        speaker = threading.Thread(target=speak, daemon=True)
        try:
            connection.send("first")
            if talks:
                speaker.start()
            for _ in connection:
                SEEN.message(case)
        except ConnectionClosed:
            pass
        stop.set()
        SEEN.end(case, connection.close_code)

    # No pings of its own: a silent one is silent.
    server = serve(handle, "127.0.0.1", 0, ping_interval=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.socket.getsockname()[1]


class Cases:
    def __init__(self, edge, tokens):
        self.edge, self.tokens = edge, tokens
        self.results, self.open, self.threads = {}, {}, []
        self.channel = grpc.insecure_channel(edge)

    def start(self, name, run, *arguments):
        is_open = self.open[name] = threading.Event()

        def begin():
            try:
                self.results[name] = run(name, is_open, *arguments)
            except Exception as error:
                self.results[name] = {"failed": repr(error)}
            is_open.set()

        thread = threading.Thread(target=begin, daemon=True)
        self.threads.append(thread)
        thread.start()

    def metadata(self, name):
        return [("authorization", "Bearer " + self.tokens[name]), ("case", name)]

    def call(self, kind, method):
        return getattr(self.channel, kind)("/%s/%s" % (SERVICE, method), None, None, _registered_method=False)

    # Each gives what the client saw at the end.

    def unary(self, name, is_open):
        future = self.call("unary_unary", "Never").future(b"x", DEADLINE, self.metadata(name))
        return self.ended(name, is_open, future, lambda: future.result())

    def server_stream(self, name, is_open, method, request):
        call = self.call("unary_stream", method)(request, DEADLINE, self.metadata(name))
        return self.ended(name, is_open, call, lambda: self.drain(call, is_open))

    def client_stream(self, name, is_open, talks):
        messages, stop = self.messages(talks)
        call = self.call("stream_unary", "Listen").future(messages, DEADLINE, self.metadata(name))
        return self.ended(name, is_open, call, lambda: call.result(), stop)

    def both(self, name, is_open, method, talks):
        messages, stop = self.messages(talks)
        call = self.call("stream_stream", method)(messages, DEADLINE, self.metadata(name))
        return self.ended(name, is_open, call, lambda: self.drain(call, is_open), stop)

    @staticmethod
    def messages(talks):
        stop = threading.Event()

        def all_of_them():
            yield b"first"
            while not stop.wait(PAUSE):
                if talks:
                    yield b"more"

        return all_of_them(), stop

    @staticmethod
    def drain(call, is_open):
        for _ in call:
            is_open.set()

    def ended(self, name, is_open, call, wait, stop=None):
        if "first" not in name:
            # There is no answer: it is open when the server has it.
            while name not in SEEN.messages and call.is_active():
                time.sleep(PAUSE)
            is_open.set()
        try:
            wait()
        except grpc.RpcError:
            pass
        if stop:
            stop.set()
        trailers = {one.key: one.value for one in call.trailing_metadata() or ()}
        return {"status": call.code().name, "details": call.details(),
                "revoked": trailers.get("x-caracal-revoked")}

    def socket(self, name, is_open, server_talks, client_talks):
        headers = dict(self.metadata(name))
        if server_talks:
            headers["talks"] = "yes"
        stop = threading.Event()
        with connect("ws://%s/socket" % self.edge, additional_headers=headers, ping_interval=None,
                     close_timeout=2) as connection:
            def speak():
                try:
                    while not stop.wait(PAUSE):
                        connection.send("more " * 50)
                except ConnectionClosed:
                    pass

            if client_talks:
                threading.Thread(target=speak, daemon=True).start()
            try:
                while True:
                    connection.recv()
                    is_open.set()
            except ConnectionClosed as closed:
                stop.set()
                received = closed.rcvd
                return {"code": received and received.code, "reason": received and received.reason}

    def web(self, name, is_open, content_type):
        """gRPC-Web as its clients read it: each message as soon as it is there."""
        host, port = self.edge.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE)
        message = struct.pack(">BI", 0, 4) + b"talk"
        is_text = "text" in content_type
        headers = dict(self.metadata(name), **{"content-type": content_type, "accept": content_type})
        connection.request("POST", "/%s/Talk" % SERVICE,
                           base64.b64encode(message) if is_text else message, headers)
        response = connection.getresponse()
        got, messages, is_whole = b"", 0, True
        while True:
            try:
                part = response.read1(65536)
            except http.client.IncompleteRead:
                part, is_whole = b"", False
            if not part:
                break
            got += decoded(part) if is_text else part
            while len(got) >= 5:
                flags, size = struct.unpack(">BI", got[:5])
                if len(got) < 5 + size:
                    break
                payload, got = got[5:5 + size], got[5 + size:]
                if flags & 0x80:
                    trailers = dict(line.split(": ", 1) for line in payload.decode().split("\r\n") if line)
                    return {"status": trailers["grpc-status"], "details": trailers["grpc-message"],
                            "revoked": trailers.get("x-caracal-revoked"), "rest": len(got)}
                messages += 1
                is_open.set()
        return {"status": None, "messages": messages, "whole": is_whole}


def decoded(text):
    """Parts of base64, each with its own padding."""
    return b"".join(base64.b64decode(text[at:at + 4]) for at in range(0, len(text), 4))


def main():
    grpc_keeps, grpc_port = grpc_server()
    socket_keeps, socket_port = socket_server()
    print(json.dumps({"grpc": grpc_port, "socket": socket_port}), flush=True)
    told = json.loads(sys.stdin.readline())
    cases = Cases(told["edge"], told["tokens"])
    cases.start("unary", cases.unary)
    cases.start("server_silent", cases.server_stream, "NeverStream", b"")
    cases.start("server_silent_after_first", cases.server_stream, "Talk", b"")
    cases.start("server_talks_after_first", cases.server_stream, "Talk", b"talk")
    cases.start("client_silent", cases.client_stream, False)
    cases.start("client_talks", cases.client_stream, True)
    cases.start("both_silent_after_first", cases.both, "Echo", False)
    cases.start("both_talk_after_first", cases.both, "Echo", True)
    cases.start("one_sided", cases.both, "ListenStream", True)
    cases.start("socket_silent", cases.socket, False, False)
    cases.start("socket_server_talks", cases.socket, True, False)
    cases.start("socket_client_talks", cases.socket, False, True)
    cases.start("socket_both_talk", cases.socket, True, True)
    cases.start("web", cases.web, "application/grpc-web+proto")
    cases.start("web_text", cases.web, "application/grpc-web-text")
    cases.start("stays", cases.both, "Echo", True)
    for name, is_open in cases.open.items():
        assert is_open.wait(DEADLINE) and name not in cases.results, (name, cases.results)
    # Long enough for a silent one to count as silent.
    time.sleep(told["silence"])
    early = dict(cases.results)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    deadline = time.monotonic() + DEADLINE
    ends = len(cases.open) - 1
    while min(len(cases.results), len(SEEN.ended)) < ends and time.monotonic() < deadline:
        time.sleep(PAUSE)
    before = SEEN.messages["stays"]
    while SEEN.messages["stays"] < before + 5 and time.monotonic() < deadline:
        time.sleep(PAUSE)
    again = cases.server_stream("unary", threading.Event(), "Talk", b"")
    print(json.dumps({
        "early": early, "clients": cases.results, "servers": SEEN.ended, "again": again,
        "stays": SEEN.messages["stays"] >= before + 5 and "stays" not in cases.results,
    }), flush=True)


# Threads of the servers would keep the process.
try:
    main()
except BaseException:
    traceback.print_exc()
    os._exit(1)
os._exit(0)
