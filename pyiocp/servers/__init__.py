"""Ring 3: sessions, what makes them and what serves them; one noun per file."""
