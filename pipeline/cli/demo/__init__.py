"""`trimodal demo`: the whole way on this machine, watched live and audited at the end."""

from pipeline.cli.demo.command import demo

__all__ = ["demo"]
