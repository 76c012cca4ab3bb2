"""Every kind of task is one."""

from foveal.evaluation.benchmark import Task
from foveal.evaluation.gallery import GroupedGallery, Ranking
from foveal.evaluation.group_choice import GroupChoice
from foveal.evaluation.growing import Growing
from foveal.evaluation.two_positives import TwoPositives


def test_every_task_is_one():
    for task in (GroupChoice(), TwoPositives(), Growing(), GroupedGallery(), Ranking()):
        assert isinstance(task, Task)
