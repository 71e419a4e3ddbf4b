"""Run `hf-prompt` as `python -m hf_prompt_cli`, which `torchrun -m` needs."""

import sys

from hf_prompt_cli.main import main


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
