"""An origin over TLS whose bodies end with the connection: ADDR CERT KEY. /whole says close_notify, /cut does not."""

import socket
import ssl
import sys
import threading

host, port = sys.argv[1].split(":")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
BODY = b"all of it" * 10_000


def answer(plain):
    try:
        secured = context.wrap_socket(plain, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            got = secured.recv(4096)
            if not got:
                return
            head += got
        secured.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY)
        if b" /whole " in head:
            secured.unwrap().close()
        else:
            # FIN without a word of TLS before it: anybody on the way could have sent it.
            raw = socket.socket(fileno=secured.detach())
            raw.shutdown(socket.SHUT_WR)
            raw.recv(1)
            raw.close()
    except OSError:
        pass


listener = socket.create_server((host, int(port)), backlog=64)
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
