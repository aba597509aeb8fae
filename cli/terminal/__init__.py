"""What is printed, and what is read from the command line."""
