"""A pretrained encoder: fetched, fine-tuned, and used to predict (stages encoder and finetune)."""
