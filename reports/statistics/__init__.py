"""Arrays in, numbers out: intervals, paired tests, corrections and power, for tables of accuracies."""
