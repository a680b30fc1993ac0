"""By hand: so many functions that do nothing, four at a time."""

import sys

import anyio


async def nothing(limiter):
    async with limiter:
        return


async def main():
    limiter = anyio.CapacityLimiter(4)
    async with anyio.create_task_group() as tasks:
        for _ in range(int(sys.argv[1])):
            tasks.start_soon(nothing, limiter)


anyio.run(main)
