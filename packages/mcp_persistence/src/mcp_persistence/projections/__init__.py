"""What is derived from the journal and kept beside it; one module per kind. All of it can be made anew."""
