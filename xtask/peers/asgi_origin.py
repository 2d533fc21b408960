"""An origin for uvicorn: bodies of unknown length both ways, digests of uploads, and a short keep-alive time."""

import asyncio
import hashlib
import os
import pathlib

FILES = pathlib.Path(os.environ["FILES"])
BLOCK = 64 * 1024
posts = 0


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path, method = scope["path"], scope["method"]
    if path.startswith("/files/") and method in ("GET", "HEAD"):
        await file(send, FILES / path.removeprefix("/files/"), method)
    elif path == "/digest" and method in ("POST", "PUT"):
        await digest(receive, send)
    elif path == "/echo" and method in ("POST", "PUT"):
        await echo(receive, send)
    elif path == "/drip":
        await drip(send)
    elif path == "/posts":
        await text(send, 200, str(posts))
    else:
        await text(send, 404, "no such thing\n")


async def start(send, status):
    await send({"type": "http.response.start", "status": status, "headers": []})


async def text(send, status, body):
    data = body.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def file(send, path, method):
    """Without a length, so uvicorn sends it chunked."""
    if not path.is_file():
        return await text(send, 404, "no such file\n")
    await start(send, 200)
    if method == "GET":
        with path.open("rb") as source:
            while block := source.read(BLOCK):
                await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def body(receive):
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the body ended early")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def digest(receive, send):
    global posts
    posts += 1
    seen, length = hashlib.sha256(), 0
    async for block in body(receive):
        seen.update(block)
        length += len(block)
    await text(send, 200, f"{seen.hexdigest()} {length}")


async def echo(receive, send):
    """Answers while it still reads."""
    await start(send, 200)
    async for block in body(receive):
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def drip(send):
    """Five lines, a fifth of a second apart."""
    await start(send, 200)
    for number in range(5):
        await send({"type": "http.response.body", "body": f"drop {number}\n".encode(), "more_body": True})
        await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b""})
