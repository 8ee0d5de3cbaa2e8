"""Rows of a label manifest: two classes, four chips of three images."""

WINDOW = {"x": 0, "y": 0, "w": 8, "h": 8}
ROWS = [
    {"uri": "a.tif", "window": WINDOW, "label": "ice", "split": "train"},
    {"uri": "a.tif", "window": WINDOW | {"x": 8}, "label": "ice", "split": "train"},
    {"uri": "b.tif", "window": WINDOW, "label": "sand", "split": "train"},
    {"uri": "c.tif", "window": WINDOW, "label": "sand", "split": "test"},
]
