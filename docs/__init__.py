"""The documentation; :mod:`docs.pages` writes the pages that are made."""
