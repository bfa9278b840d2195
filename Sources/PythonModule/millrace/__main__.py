"""python -m millrace: the same as the command millrace."""

from .program import main

main()
