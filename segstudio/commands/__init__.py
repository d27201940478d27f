"""One verb of the command line in each file: `add_arguments(parser)` and `run(arguments) -> exit code`."""
