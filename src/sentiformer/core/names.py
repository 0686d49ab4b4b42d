"""Names that several stages use."""

SPECIAL_TOKENS = ("<pad>", "<unk>")  # the first words of a vocabulary
SPLITS = ("train", "validation", "test")  # of labelled texts
UNLABELED = "unlabeled"  # the split of unlabelled texts
PRETRAINING_SPLITS = ("train", UNLABELED)  # pretraining reads their texts, not their labels
