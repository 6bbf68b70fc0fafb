"""Reports as self-contained HTML pages: one file, no network, every text from outside escaped."""
