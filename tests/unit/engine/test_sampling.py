"""Every request has full parameters and a seed of its own."""

from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.sampling import (
    Sampling,
    derived_seed,
    requested_tokens,
    sampling_for,
)
from tests.support.input_lines import parsed, with_body

MODEL = Model(name="m", source="org/m", stop=["USER:"], stop_token_ids=[2])
PLAIN = Model(name="m", source="org/m")


def sampling(model=PLAIN, available_tokens=100, **body):
    return sampling_for(
        parsed(with_body(**body)), model, seed=7, available_tokens=available_tokens
    )


def test_nothing_is_left_to_an_engine_s_defaults():
    assert sampling() == Sampling(max_tokens=100, seed=7)
    assert (sampling().temperature, sampling().top_p, sampling().top_k) == (1, 1, 0)


def test_null_is_the_default():
    assert sampling(temperature=None, seed=None, stop=None, n=None) == sampling()


def test_what_is_given_is_used():
    given = {"temperature": 0, "top_p": 0.5, "top_k": 9, "n": 1, "min_tokens": 3}
    given |= {"presence_penalty": -2, "ignore_eos": True, "skip_special_tokens": False}
    made = sampling(**given)
    assert {name: getattr(made, name) for name in given} == given


def test_a_request_s_own_seed_wins_even_if_it_is_zero():
    assert sampling(seed=0).seed == 0


def test_the_model_s_stops_come_after_the_request_s():
    made = sampling(MODEL, stop=["a", "b"], stop_token_ids=[5])
    assert (made.stop, made.stop_token_ids) == (("a", "b", "USER:"), (5, 2))
    assert sampling(MODEL, stop="word").stop == ("word", "USER:")
    assert sampling(MODEL).stop == ("USER:",)


def test_tokens_of_a_bias_are_numbers():
    assert sampling(logit_bias={"5": 1, "6": -100}).logit_bias == {5: 1.0, 6: -100.0}


def test_logprobs_are_counted_only_where_asked_for():
    assert sampling(logprobs=False).logprobs is sampling().logprobs is None
    assert sampling(logprobs=True).logprobs == 0
    assert sampling(logprobs=True, top_logprobs=3).logprobs == 3


def test_an_answer_is_as_long_as_asked_and_as_the_context_allows():
    assert sampling(max_tokens=5).max_tokens == 5
    assert sampling(max_tokens=1_000_000).max_tokens == 100
    assert sampling(max_tokens=0).max_tokens == 0


def test_the_newer_name_of_the_limit_wins():
    request = parsed(with_body(max_tokens=5, max_completion_tokens=6))
    assert requested_tokens(request, 100) == 6


def test_a_derived_seed_is_the_same_for_ever():
    assert derived_seed(7, "q-1") == 5_315_141_394_666_394


@given(st.integers(0, 2**53 - 1), st.text())
def test_a_derived_seed_survives_every_json_reader(batch_seed, custom_id):
    seed = derived_seed(batch_seed, custom_id)
    assert 0 <= seed < 2**53
    assert float(seed) == seed


def test_requests_and_batches_have_seeds_of_their_own():
    seeds = {derived_seed(batch, f"q-{q}") for batch in range(50) for q in range(50)}
    assert len(seeds) == 2_500
