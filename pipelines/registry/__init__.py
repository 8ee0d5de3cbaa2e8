"""Bundles at URIs, and MLflow's runs and names for them."""
