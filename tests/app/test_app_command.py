"""The command `hf-prompt app`."""

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest

import hf_prompt_models.app
from hf_prompt_cli.commands.app import main
from hf_prompt_models.app import Options
from tests.programs import run_program


def test_the_page_is_shown_at_this_machine_alone_unless_set_otherwise(
    learned_prompt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(hf_prompt_models.app, "serve", lambda *arguments: calls.append(arguments))
    assert main([str(learned_prompt)]) == 0
    assert main(["you/name", "--host", "0.0.0.0", "--port", "80", "--clips", "films", "--device", "cpu"]) == 0
    assert main(["you/name", "--backbone", "playground"]) == 0
    assert calls.pop() == ("you/name", Options(backbone="playground"), "127.0.0.1", None)
    assert calls == [
        (str(learned_prompt), Options(), "127.0.0.1", None),
        ("you/name", Options(clips=Path("films"), device="cpu"), "0.0.0.0", 80),
    ]


def test_a_folder_without_a_model_ends_with_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="contains no trained model"):
        main([str(tmp_path)])


def test_a_port_that_is_taken_ends_with_words(learned_prompt: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = f"Cannot listen on 127.0.0.1, port {port}: Address already in use.*Choose another --host or --port"
        with pytest.raises(SystemExit, match=said):
            main([str(learned_prompt), "--port", str(port)])


def test_what_is_no_port_ends_with_words(learned_prompt: Path) -> None:
    with pytest.raises(SystemExit, match="700000 is not a valid port"):
        main([str(learned_prompt), "--port", "700000"])


def test_an_unknown_device_ends_with_words(learned_prompt: Path) -> None:
    with pytest.raises(SystemExit, match="There is no device 'gpu7'"):
        main([str(learned_prompt), "--device", "gpu7"])


def test_an_exported_space_reports_how_to_resume(
    learned_prompt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_this_machine = tmp_path / "prompt"
    shutil.copytree(learned_prompt, of_this_machine)
    config = json.loads((of_this_machine / "config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "clip")
    (of_this_machine / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit, match="save_backbone=True"):
        main([str(of_this_machine), "--export_space", str(tmp_path / "space")])
    with pytest.raises(SystemExit, match="Remove --backbone"):
        main([str(learned_prompt), "--backbone", "playground", "--export_space", str(tmp_path / "space")])
    monkeypatch.setattr(hf_prompt_models.app, "export_space", lambda *_: None)
    assert main([str(learned_prompt), "--export_space", "space"]) == 0
    printed = capsys.readouterr().out
    assert "python space/app.py" in printed
    assert "hf upload --repo-type space USER/NAME space" in printed


def test_without_gradio_the_error_reports_what_to_install() -> None:
    code = (
        "import sys; sys.modules['gradio'] = None\n"
        "from hf_prompt_cli.commands.app import main\nsys.exit(main(['anything']))"
    )
    done = run_program([sys.executable, "-c", code])
    assert done.returncode == 1
    assert 'pip install "hf_prompt_models[app]"' in done.stderr


def test_the_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom hf_prompt_cli.commands.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'transformers', 'gradio') if name in sys.modules])"
    )
    done = run_program([sys.executable, "-c", code])
    assert done.stdout.rstrip().endswith("[]")
    assert "--export_space" in done.stdout
