"""The command line: thin, and nothing heavy is imported before it is used."""
