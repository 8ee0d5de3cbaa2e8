"""Runs on Kubernetes: a KubeRay RayJob copied from a template, once a day, and watched to its end."""
