"""How models are kept on disk: an object for each layout, and what loads, writes and converts."""
