"""The same join and stub in other programs, each written as its documentation has it, each in a home of its own."""
