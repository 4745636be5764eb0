"""What a model may be before it is run: parsing, the operator list, shapes, and the count of operations."""
