"""All code that depends on row keys or columns of the table."""
