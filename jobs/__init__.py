"""What a batch is: requests, plan, shards, ledger, results, cost.

This package uses no queue, no engine, no web framework and no terminal.
"""
