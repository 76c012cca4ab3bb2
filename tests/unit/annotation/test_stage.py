from concurrent.futures import ThreadPoolExecutor

from foveal.annotation.stage import BatchStage, Dropped, Stage, listening, remark


def test_remarks_are_heard_only_inside_and_by_the_innermost():
    remark("nobody listens")
    with listening() as outer:
        remark("heard")
        with listening() as inner:
            remark("heard inside", 2)
            remark("none of it", 0)
        remark("heard")
    assert (outer, inner) == ({"heard": 2}, {"heard inside": 2})
    remark("nobody listens any more")
    assert outer == {"heard": 2}


def test_each_thread_hears_its_own_remarks():
    def counted(number):
        with listening() as remarks:
            remark("heard", number)
        return remarks

    with listening() as remarks, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(counted, range(1, 9))) == [{"heard": number} for number in range(1, 9)]
    assert not remarks


def test_a_drop_carries_the_words_it_is_counted_by():
    assert (Dropped("no caption").reason, str(Dropped("no caption"))) == ("no caption", "no caption")


def test_a_stage_is_whatever_can_be_called_and_one_of_batches_has_their_size():
    class Batches:
        batch_size = 3

        def __call__(self, sample):
            return sample

        def batch(self, samples):
            return samples

    assert isinstance(len, Stage)
    assert not isinstance(len, BatchStage)
    assert isinstance(Batches(), BatchStage)
