"""Files that users hand over and get: texts read, vectors written."""
