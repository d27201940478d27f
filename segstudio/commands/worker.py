"""The program behind the window: answers its requests in frames, or lists the models of one plugin."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reader", action="store_true", help="decode images only, without torch")
    parser.add_argument(
        "--list", nargs="?", const="", metavar="NAME", help="print a plugin's models as JSON and leave"
    )
    parser.add_argument(
        "--memory-limit", type=int, default=0, metavar="BYTES", help="address space, 0 = no limit"
    )
    parser.add_argument("--read-zip", metavar="FILE", help="print where the tensors of a torch file lie")


def run(arguments: argparse.Namespace) -> int:
    if arguments.list is not None:
        from segstudio.worker.listing import print_listing

        return print_listing(arguments.list, arguments.plugin, memory_limit=arguments.memory_limit)
    if arguments.read_zip is not None:
        from segstudio.worker.restricted_zip import main

        return main(arguments.read_zip)
    from segstudio.worker.program import serve

    return serve(reader=arguments.reader, plugin_files=arguments.plugin, memory_limit=arguments.memory_limit)
