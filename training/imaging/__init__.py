"""Operations on batches of images (tensors N,C,H,W in 0..1) for augmentation and corruption. Independent of recipes."""
