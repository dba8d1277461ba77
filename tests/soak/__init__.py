"""Load and soak: many clients, many subscriptions, much time, over real servers.

    python -m tests.soak drops|subscriptions|churn|herd|all [--short]

Each prints one table and one line of JSON, and fails when a promise is broken.
"""
