"""Tables of accuracies and costs: computed, printed, written in every format."""
