"""Watches: saved examples, and what each night brings near them."""
