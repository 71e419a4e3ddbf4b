"""The configuration in docs/many_gpus.md is valid for the installed accelerate."""

import re
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin


TEXT = (Path(__file__).parents[2] / "docs" / "many_gpus.md").read_text(encoding="utf-8")


def test_accelerate_knows_every_key_and_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (written,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "fsdp2.yaml").write_text(written)
    config = ClusterConfig.from_yaml_file(str(tmp_path / "fsdp2.yaml"))  # refuses unknown keys
    assert str(config.distributed_type.value) == "FSDP"
    known = {action.dest for action in launch_command_parser()._actions}
    values = yaml.safe_load(written)["fsdp_config"]
    assert set(values) <= known
    names = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}
    for name, value in values.items():
        monkeypatch.setenv(
            names.get(name, name.upper()), str(value).lower() if isinstance(value, bool) else str(value)
        )
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.transformer_cls_names_to_wrap == ["LlamaDecoderLayer"]
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.reshard_after_forward is True
    assert not plugin.cpu_ram_efficient_loading
