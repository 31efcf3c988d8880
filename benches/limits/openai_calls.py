"""An AsyncOpenAI script as one writes it: a semaphore, and the client's own two retries.

    openai_calls.py TRAINSET API_BASE IN_FLIGHT CALLS
"""

import asyncio
import json
import sys

import openai


async def main():
    trainset, api_base, in_flight, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    client = openai.AsyncOpenAI(base_url=api_base, api_key="first")
    semaphore = asyncio.Semaphore(in_flight)
    with open(trainset) as file:
        questions = [json.loads(line)["question"] for line in file]

    async def ask(prompt):
        async with semaphore:
            answer = await client.chat.completions.create(model="teacher", messages=[{"role": "user", "content": prompt}])
        return answer.choices[0].message.content

    async def example(question):
        text = question
        for step in range(calls):
            text = await ask(f"Step {step}: {question} {text}")
        return text

    done = await asyncio.gather(*(example(question) for question in questions), return_exceptions=True)
    lost = sum(isinstance(result, Exception) for result in done)
    print(json.dumps({"kept": len(done) - lost}))


asyncio.run(main())
