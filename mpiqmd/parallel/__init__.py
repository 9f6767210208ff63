"""Communicators, decisions taken once, replicated dense algebra, logging and timing.

Everything here works on an explicit communicator; nothing names the world.  May import ``errors`` only.
"""
