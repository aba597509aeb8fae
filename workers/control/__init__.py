"""The controller: plans, dispatches and ends batches."""
