"""The PyPI package `websockets`, as a test client: python python-websockets.py ws://…

Speaks with the test that started it as `driver.mjs` tells: `ready {…}`, then stdin, then `closed <code>`.
"""

import asyncio
import json
import sys
import threading

from websockets.asyncio.client import connect

TIME_LIMIT_S = 60
# Those of messages.mjs; written in escapes so that the locale cannot change them.
MESSAGES = ["hello", "Zo\u00eb \u2603 \U0001f642", bytes(1000), "", "x" * 60_000, "last!"]


async def main(url):
    released = let_go()
    # proxy=None: an http_proxy in the environment must not come between a test and its server.
    async with connect(url, proxy=None) as ws:
        for message in MESSAGES:
            await ws.send(message)
        # Frames are answered in order: the pong says that the server has read all messages.
        await (await ws.ping())
        sent = [len(m if isinstance(m, bytes) else m.encode()) for m in MESSAGES]
        ready = {"userAgent": ws.request.headers.get("User-Agent"), "sent": sent}
        print("ready", json.dumps(ready), flush=True)

        closed = asyncio.ensure_future(ws.wait_closed())
        await asyncio.wait([released, closed], return_when=asyncio.FIRST_COMPLETED)
        await ws.close(1000)  # does nothing if the server closed first
        print("closed", ws.close_code, flush=True)


def let_go():
    """A future that is done when the test lets go: a line on stdin, or its end."""
    loop = asyncio.get_running_loop()
    released = loop.create_future()

    def wait():
        sys.stdin.readline()
        loop.call_soon_threadsafe(released.set_result, None)

    # A daemon thread is left behind at exit; the loop's own readers accept pipes only, and no terminal or file.
    threading.Thread(target=wait, daemon=True).start()
    return released


try:
    asyncio.run(asyncio.wait_for(main(sys.argv[1]), TIME_LIMIT_S))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
