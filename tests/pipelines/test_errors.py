import inspect
import re

from pipelines import errors


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    """Each error, below its parent, with its exit code."""
    drawn: dict[str, tuple[str, int]] = {}
    above: list[str] = ["Exception"]
    for indent, name, code in re.findall(r"^( +)([A-Z]\w+) +(\d)", str(errors.__doc__), re.MULTILINE):
        del above[len(indent) // 4 :]
        drawn[name] = above[-1], int(code)
        above.append(name)
    classes = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]
    assert drawn == {kind.__name__: (kind.__bases__[0].__name__, kind.exit_code) for kind in classes}
