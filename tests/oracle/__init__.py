"""What every family computes, once more, by slow plain code made from the papers' formulas alone.

Nothing here but `agreement` and the test knows foveal. Each family is a page: `SHAPES` are its tensors under the names
that were published, whose numbers follow from a formula (`formula`), so that no weights have to be kept; `inputs` and
`outputs` are what its JSON file holds. All is numpy in float64, in loops that can be read beside the formulas.
"""
