"""Azure Table and Queue storage."""
