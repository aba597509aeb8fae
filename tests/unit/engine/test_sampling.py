"""Every request has a complete set of parameters and a seed."""

from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.sampling import (
    Sampling,
    derived_seed,
    nth_seed,
    request_seed,
    requested_tokens,
    sampling_for,
)
from tests.support.input_lines import parse_valid, with_body

MODEL = Model(name="m", source="org/m", stop=["USER:"], stop_token_ids=[2])
PLAIN = Model(name="m", source="org/m")


def sampling(model=PLAIN, available_tokens=100, **body):
    return sampling_for(
        parse_valid(with_body(**body)), model, seed=7, available_tokens=available_tokens
    )


def test_no_parameter_is_left_to_the_engine():
    assert sampling() == Sampling(max_tokens=100, seed=7)
    assert (sampling().temperature, sampling().top_p, sampling().top_k) == (1, 1, 0)


def test_null_means_the_default():
    assert sampling(temperature=None, seed=None, stop=None, n=None) == sampling()


def test_parameters_of_the_request_are_used():
    given = {"temperature": 0, "top_p": 0.5, "top_k": 9, "n": 1, "min_tokens": 3}
    given |= {"presence_penalty": -2, "ignore_eos": True, "skip_special_tokens": False}
    made = sampling(**given)
    assert {name: getattr(made, name) for name in given} == given


def test_the_request_s_seed_is_used_even_if_it_is_zero():
    assert request_seed(parse_valid(with_body(seed=0)), 7) == 0


def test_a_request_without_a_seed_gets_a_derived_one():
    request = parse_valid(with_body(seed=None))
    assert request_seed(request, 7) == derived_seed(7, request.custom_id)


def test_ignore_eos_also_ignores_the_stop_tokens_of_the_model():
    made = sampling(MODEL, stop_token_ids=[5], ignore_eos=True)
    assert made.stop_token_ids == (5,)
    assert sampling(MODEL, ignore_eos=False).stop_token_ids == (2,)


def test_stops_of_the_model_follow_those_of_the_request():
    made = sampling(MODEL, stop=["a", "b"], stop_token_ids=[5])
    assert (made.stop, made.stop_token_ids) == (("a", "b", "USER:"), (5, 2))
    assert sampling(MODEL, stop="word").stop == ("word", "USER:")
    assert sampling(MODEL).stop == ("USER:",)


def test_logit_bias_keys_become_integers():
    assert sampling(logit_bias={"5": 1, "6": -100}).logit_bias == {5: 1.0, 6: -100.0}


def test_top_logprobs_has_no_effect_without_logprobs():
    assert sampling(logprobs=False).logprobs is sampling().logprobs is None
    assert sampling(logprobs=True).logprobs == 0
    assert sampling(logprobs=True, top_logprobs=3).logprobs == 3


def test_max_tokens_is_limited_by_request_and_context():
    assert sampling(max_tokens=5).max_tokens == 5
    assert sampling(max_tokens=1_000_000).max_tokens == 100
    assert sampling(max_tokens=0).max_tokens == 0


def test_max_completion_tokens_overrides_max_tokens():
    request = parse_valid(with_body(max_tokens=5, max_completion_tokens=6))
    assert requested_tokens(request, 100) == 6


def test_derived_seeds_never_change():
    assert derived_seed(7, "q-1") == 5_315_141_394_666_394


@given(st.integers(0, 2**53 - 1), st.text())
def test_derived_seeds_are_exact_in_every_json_reader(batch_seed, custom_id):
    seed = derived_seed(batch_seed, custom_id)
    assert 0 <= seed < 2**53
    assert float(seed) == seed


def test_derived_seeds_differ_between_requests_and_batches():
    seeds = {derived_seed(batch, f"q-{q}") for batch in range(50) for q in range(50)}
    assert len(seeds) == 2_500


def test_the_first_answer_has_the_request_s_seed():
    assert nth_seed(2**63 - 1, 0) == 2**63 - 1


@given(st.integers(0, 2**63 - 1), st.integers(1, 4_096))
def test_seeds_of_further_answers_survive_every_json_reader(seed, index):
    assert 0 <= nth_seed(seed, index) < 2**53
    assert nth_seed(seed, index) == nth_seed(seed, index) != seed


def test_neighbouring_seeds_have_no_answers_in_common():
    seeds = {nth_seed(seed, index) for seed in range(100) for index in range(100)}
    assert len({seed % 2**32 for seed in seeds}) == len(seeds) == 10_000
