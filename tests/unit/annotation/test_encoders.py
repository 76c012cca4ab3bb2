from foveal.annotation.encoders import load_encoder


def test_stages_that_name_the_same_encoder_share_it(monkeypatch, unchecked):
    loaded = []

    def load(name, device=None):
        loaded.append((name, device))
        return object()

    monkeypatch.setattr("foveal.encoder.load.load", load)
    load_encoder.cache_clear()
    assert load_encoder("tiny") is load_encoder("tiny")
    assert load_encoder("tiny", "cpu") is not load_encoder("tiny")
    assert loaded == [("tiny", None), ("tiny", "cpu")]
    load_encoder.cache_clear()
