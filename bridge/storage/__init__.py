"""Everything that knows a row key or a column of the table."""
