"""The whole of foveal on made-up pictures: scenes, trainings, a comparison and a page to look at."""
