"""What is stored of a batch, and the fold that reads it."""
