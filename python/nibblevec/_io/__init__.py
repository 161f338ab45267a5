"""Files that users bring and get: texts are read, vectors and models are written."""
