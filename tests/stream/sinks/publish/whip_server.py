"""A server that is published into over WHIP, aiortc's in a process of its own: PORT TOKEN.

It prints `picture N SIZE MEAN` for every tenth picture that it decodes, `sound N RATE LOUDEST` for every
tenth piece of sound, and `left` at the session's end.
"""

import asyncio
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription

port, token = int(sys.argv[1]), sys.argv[2]
peers: set = set()


async def watch(track) -> None:
    number = 0
    while True:
        frame = await track.recv()
        number += 1
        if number % 10 == 0 and track.kind == "audio":
            loudest = int(abs(frame.to_ndarray().astype(int)).max())
            print("sound", number, frame.sample_rate, loudest, flush=True)
        elif number % 10 == 0:
            gray = frame.to_ndarray(format="gray")
            print("picture", number, f"{frame.width}x{frame.height}", int(gray.mean()), flush=True)


async def answer(offer: str) -> str:
    peer = RTCPeerConnection()
    peers.add(peer)
    peer.on("track", lambda track: asyncio.ensure_future(watch(track)))
    # As DTLS's client it knows ciphers for ECDSA alone, and webrtcbin's certificate is RSA: be the server.
    offer = offer.replace("a=setup:actpass", "a=setup:active")
    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription.sdp


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:  # somebody looked whether we are there
        writer.close()
        return
    first, *lines = head.split("\r\n")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines if line}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    more = ""
    if headers.get("authorization") != f"Bearer {token}":
        status, reply = "401 Unauthorized", ""
    elif first.startswith("POST /moved"):
        status, reply, more = "307 Temporary Redirect", "", "Location: /whip/gate\r\n"
    elif first.startswith("POST /whip/gate"):
        status, reply = "201 Created", await answer(body.decode())
        more = "Location: /sessions/1\r\nContent-Type: application/sdp\r\n"
    elif first.startswith("DELETE /sessions/1"):
        status, reply = "200 OK", ""
        print("left", flush=True)
    else:
        status, reply = "404 Not Found", ""
    data = reply.encode()
    writer.write(
        f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{more}Connection: close\r\n\r\n".encode() + data
    )
    await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
