"""PostgreSQL, 15 or newer: where the application's database is the warehouse."""
