"""The results of a batch as a dataset for the Hugging Face Hub."""
