"""Finding passages: files to text, text to passages, passages to an index, questions to the best of them."""
