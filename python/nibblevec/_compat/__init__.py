"""What code written for sentence-transformers calls besides `encode`, and passes without need."""
