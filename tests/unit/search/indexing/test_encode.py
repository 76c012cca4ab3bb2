import torch

from foveal.search.indexing.encode import uncropped


def test_boxes_in_the_middle_square_are_boxes_in_the_picture():
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]])
    torch.testing.assert_close(uncropped(whole, 200, 100)[0], torch.tensor([0.25, 0.0, 0.75, 1.0]))
    torch.testing.assert_close(uncropped(whole, 100, 200)[1], torch.tensor([0.5, 0.5, 1.0, 0.75]))
    torch.testing.assert_close(uncropped(whole, 50, 50), whole)
