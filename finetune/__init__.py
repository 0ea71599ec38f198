"""From logged exchanges to a better adapter: curation, training, judging, evaluation and the gate."""
