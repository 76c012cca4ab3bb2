from foveal.recipes.clip import Objective, demo


def test_every_text_is_contrasted_with_the_images(output, info_nce, same_terms):
    expected = {
        "caption": info_nce(output.image, output.texts["caption"].embedding, 4.0),
        "long_caption": info_nce(output.image, output.texts["long_caption"].embedding, 4.0),
    }
    same_terms(Objective()(output), expected)


def test_label_smoothing_spreads_the_target(output, info_nce, same_terms):
    expected = {
        "caption": info_nce(output.image, output.texts["caption"].embedding, 4.0, 0.1),
        "long_caption": info_nce(output.image, output.texts["long_caption"].embedding, 4.0, 0.1),
    }
    same_terms(Objective(label_smoothing=0.1)(output), expected)


def test_a_text_that_was_not_asked_for_has_no_term(output, without):
    assert set(Objective()(without(output, "long_caption"))) == {"caption"}
    assert set(Objective()(without(output, "caption"))) == {"long_caption"}


def test_the_demo_is_the_baseline_that_reads_77_tokens_of_everything():
    run = demo()
    assert run.model.text.length("long_caption") == run.model.text.length("caption") == 77
    assert (run.data.long_captions, run.data.regions, run.data.negatives) == (True, 0, 0)
