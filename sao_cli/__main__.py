"""`python -m sao_cli` is `sao`."""

from sao_cli.cli import main

if __name__ == "__main__":
    main(prog_name="sao")
