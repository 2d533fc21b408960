"""WebSocket by `websockets`: `serve ADDR` echoes; `ask URL [CA]` asks such an echo, and says what it saw."""

import asyncio
import hashlib
import ssl
import sys

import websockets

BOUND = 20
MAX = 64 << 20


async def echo(socket):
    async for message in socket:
        if message in ("close me", b"close me"):
            return await socket.close(4001, "as you wish")
        await socket.send(message)


async def serve(addr):
    host, port = addr.split(":")
    async with websockets.serve(echo, host, int(port), max_size=MAX, subprotocols=["echo"]) as server:
        await server.serve_forever()


def connect(url, ca):
    context = ssl.create_default_context(cafile=ca) if ca else None
    return websockets.connect(
        url, ssl=context, max_size=MAX, subprotocols=["echo"], compression=None, open_timeout=BOUND, proxy=None
    )


async def ask(url, ca=None):
    async with connect(url, ca) as socket:
        assert socket.subprotocol == "echo", socket.subprotocol
        for number in range(200):
            await socket.send(f"text {number}")
            assert await socket.recv() == f"text {number}"
        big = bytes(range(251)) * 33000
        await socket.send(big)
        assert hashlib.sha256(await socket.recv()).digest() == hashlib.sha256(big).digest()
        await (await socket.ping(b"p"))
        # In fragments, each of them a frame of its own.
        await socket.send(f"part {number} " for number in range(100))
        assert await socket.recv() == "".join(f"part {number} " for number in range(100))
        await socket.send("close me")
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4001, "as you wish"), socket.close_code
    async with connect(url, ca) as other:
        await other.close(1000)
        assert other.close_code == 1000, other.close_code
    print("200 texts, 8 MiB, a ping, 100 fragments, closed by either side")


async def main(what, *rest):
    if what == "serve":
        await serve(*rest)
    else:
        await asyncio.wait_for(ask(*rest), BOUND)


asyncio.run(main(*sys.argv[1:]))
