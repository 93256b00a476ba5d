"""How old offers were when they ended."""

from mezzo_registry.core.state.offer_ages import OfferAges


def test_a_clock_that_is_set_back_makes_no_age_less_than_none() -> None:
    ages = OfferAges()
    ages.add(20.0)
    ages.add(-3600.0)
    assert ages.seconds == 20.0, "a sum that falls is taken for a counter that began anew"
    assert (ages.counts[0], sum(ages.counts)) == (1, 2)
