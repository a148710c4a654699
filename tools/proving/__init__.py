"""The parts of ``tools/proof.py``: what is declared, what C it means, what a compiler says."""
