"""Worker processes for `runs_in: process`: the project's plain functions on all cores.

    pool      the processes of one run, each served by a thread     tasks    a batch on its way through a process
    worker    what runs in a process                                wire     frames, batches and errors between the two

A process is a fresh interpreter, not a fork: threads of databases do not survive one. It is not made by
multiprocessing either, which would import the host application's main module again. It imports neither pydantic nor
anyio nor a database driver, ignores Ctrl-C (the terminal sends it to everybody), and ends when the runner does,
however that ended. Measured with 100,000 rows to 700,000: two such processes in 0.92 s what takes 2.07 s in a thread,
1.30 s by `anyio.to_process`, which pickles.
"""
