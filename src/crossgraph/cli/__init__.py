"""The command line: the frame, and one thin module per command."""
