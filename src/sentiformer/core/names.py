"""Names that several stages share."""

SPECIAL_TOKENS = ("<pad>", "<unk>")  # the first words of each vocabulary
SPLITS = ("train", "validation", "test")  # of the labelled texts
UNLABELED = "unlabeled"  # the split of texts without a label
PRETRAINING_SPLITS = ("train", UNLABELED)  # read without their labels; never test
