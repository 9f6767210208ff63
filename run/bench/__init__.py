"""Measurements of accuracy and cost, and what several of them share."""
