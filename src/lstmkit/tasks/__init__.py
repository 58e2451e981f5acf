"""Floor 5: the tasks, one room each; they do not know one another."""
