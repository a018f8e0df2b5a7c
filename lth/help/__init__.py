"""What the command says of itself: its help, what a name stands for, what a typo may have meant."""
