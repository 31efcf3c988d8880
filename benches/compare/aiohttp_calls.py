"""Only the calls, from Python: the same requests by bare aiohttp, answers read and thrown away.

    aiohttp_calls.py EXAMPLES IN_FLIGHT API_BASE TRACES

TRACES is the traces.jsonl of a bsft run of the same job: its first prompt is asked with each example's text.
"""

import asyncio
import json
import resource
import sys
import time

import aiohttp

from jobs import text


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main():
    examples, in_flight = int(sys.argv[1]), int(sys.argv[2])
    url = f"{sys.argv[3]}/chat/completions"
    with open(sys.argv[4]) as file:
        messages = json.loads(file.readline())["calls"][0]["messages"]
    body = json.dumps({"model": "bench", "messages": messages})
    before_text, after_text = body.split(text(0))
    numbers = iter(range(examples))

    async def ask_on(session):
        for i in numbers:
            data = before_text + text(i) + after_text
            async with session.post(url, data=data, headers={"content-type": "application/json"}) as answer:
                answer.raise_for_status()
                await answer.json()

    start, before = time.monotonic(), cpu()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:
        await asyncio.gather(*(ask_on(session) for _ in range(in_flight)))
    print(json.dumps({"wall": time.monotonic() - start, "cpu": cpu() - before}))


asyncio.run(main())
