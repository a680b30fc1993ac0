"""The pages of `runner.cli.page` over HTTP on this machine, live: the extra `ui`.

    pages.py     which address shows what; plain functions over the run store
    guard.py     who is answered at all: host, origin, token, GET
    app.py       the routes, and the stream of a page that changes (Starlette)
    serving.py   the socket and the server, up to a signal (uvicorn)

Nothing outside of this folder and the command `ui` imports Starlette or uvicorn.
"""
