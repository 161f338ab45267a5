"""Texts to token ids: natively where the tokenizer is BERT's, else by the `tokenizers` package."""
