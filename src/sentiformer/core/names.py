"""Names that several stages use."""

SPECIAL_TOKENS = ("<pad>", "<unk>")  # the first words of a vocabulary
SPLITS = ("train", "validation", "test")  # of labelled texts
UNLABELED = "unlabeled"  # the split of unlabelled texts
PRETRAINING_SPLITS = ("train", UNLABELED)  # pretraining reads their texts, not their labels
# The files of stage teach: a corpus of the texts, and an array of their class probabilities.
PSEUDO_LABELLED, PSEUDO_LABELS = "texts.arrow", "probabilities.npy"
# What is shown of a pretrained encoder, from the file source.json of stage encoder.
ENCODER_FACTS = ("name", "revision", "architecture", "parameters", "licence", "trained_on", "url")
