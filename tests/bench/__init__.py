"""Measured claims: mlnb and its peers, side by side in one run on one machine."""
