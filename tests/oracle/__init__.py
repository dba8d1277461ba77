"""Writers, servers and clients as processes of their own, faults among them, and a checker that believes none of them.

    models, serializers, channels   a tree of four levels: boards, columns, cards, notes; people and labels are shared
    work        one random transaction, which writes down what it wrote
    writer      a process that makes them (writing)
    client      subscribers that join, leave, lag, drop and resume, and keep all that they were told
    faults      what the conductor does to Redis, PostgreSQL, the servers and the writers
    checker     what must hold for every event of every client: pure, fed with histories
    conductor   one run of all of these (report)
    sabotage    takes one safeguard of the library away in the child processes: the checker has to notice (kill)

`python -m tests.oracle`; see docs/testing.md.
"""
