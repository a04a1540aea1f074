"""Operations on batches of pictures as tensors N,C,H,W in 0..1, for augmentation and corruption. Knows no recipe."""
