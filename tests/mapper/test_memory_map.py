import json

from dataflow.layers.plan import MemoryMap, Placement
from dataflow.mapper.memory_map import memory_map_json


def test_memory_map_lists_regions_by_offset() -> None:
    memory = MemoryMap(
        {"late": Placement(64, 32, 16), "early": Placement(0, 64, 8)},
        {("layer", "source"): Placement(96, 32, 16)},
        {"input": 0},
    )
    document = json.loads(memory_map_json(memory, 128, {"early": (0, 2)}))
    on_chip = document["activation_memory"]
    assert [row["name"] for row in on_chip["resident"]] == ["early", "late"]
    assert on_chip["resident"][0]["lifetime"] == [0, 2]
    assert on_chip["buffers"][0]["name"] == "layer/source"
    assert document["dram"] == [{"name": "input", "offset": 0}]
