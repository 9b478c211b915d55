"""The command line: flags, config files and their rules, and the modes."""
