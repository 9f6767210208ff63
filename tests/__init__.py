"""The test suite; what several folders of it share is in :mod:`tests.helpers`."""
