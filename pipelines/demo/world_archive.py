"""The demo's archive: scenes of the world and a labelled manifest, uploaded to a bucket."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.demo.world import broken_objects, iter_scenes, labelled_chips
from pipelines.storage.store import Store


@dataclass(frozen=True)
class Archive:
    """The objects that were uploaded."""

    scenes_uri: str
    """Prefix of the scenes and the broken objects."""
    manifest_uri: str
    labels: pa.Table
    """uri, window, label, split of each labelled chip."""
    objects: int


def upload_world(root: str, store: Store) -> Archive:
    """Write the world's scenes, five awkward objects and the labelled manifest below ``root``."""
    scenes_uri, manifest_uri = f"{root}/scenes", f"{root}/labels.parquet"
    scenes = list(iter_scenes())
    contents = {scene.name: scene.data for scene in scenes} | broken_objects(scenes[len(scenes) // 2])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.write(f"{scenes_uri}/{name}", contents[name]), contents))
    chips = labelled_chips()
    uris = pc.binary_join_element_wise(scenes_uri, chips["scene"], "/")
    labels = chips.drop_columns("scene").add_column(0, "uri", uris)
    buffer = io.BytesIO()
    pq.write_table(labels, buffer)
    store.write(manifest_uri, buffer.getvalue())
    return Archive(scenes_uri, manifest_uri, labels, len(contents))
