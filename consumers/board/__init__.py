"""The live page: predictions as they come, with what they were made from, and how the pipeline does.

A view, not a ledger: it joins no group, commits nothing, shows samples and counts the rest.
"""
