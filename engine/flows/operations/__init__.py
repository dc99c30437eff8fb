"""Operations: one kind of change to many brands and campaigns, previewed, applied in chunks, and taken back."""
