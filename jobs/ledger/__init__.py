"""The stored records of batches and files, and the state that follows from them."""
