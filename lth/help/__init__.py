"""What the command says of itself: its help, what a name stands for, what a typo may have meant.

All of it is read from YAMLs and sources; nothing heavy is imported.
"""
