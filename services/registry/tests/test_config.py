"""The flags of a registry, as a command line has them."""

import pytest

from mezzo_chassis.config import as_text, load
from mezzo_registry.config import Config
from mezzo_registry.core import Settings


def settings(*argv: str) -> Settings:
    return load(Config, list(argv), service="registry").settings()


def test_settings_of_no_flags_are_the_cores_own_but_for_the_offer_timeout() -> None:
    assert settings() == Settings(offer_timeout=600.0)


def test_offer_timeout_of_zero_is_none() -> None:
    assert settings("--offer_timeout=0").offer_timeout is None
    assert settings("--offer_timeout=30secs").offer_timeout == 30.0


def test_weights_are_pairs() -> None:
    assert settings("--weights=web=2, eng/ops=0.5").weights == {"web": 2.0, "eng/ops": 0.5}


def test_limits_of_regular_expressions_are_sizes() -> None:
    limits = settings("--offer_constraints_re2_max_mem=8KB", "--offer_constraints_re2_max_program_size=7")
    assert (limits.offer_constraints.re2_max_mem, limits.offer_constraints.re2_max_program_size) == (8192, 7)


@pytest.mark.parametrize("wrong", ["--weights=web", "--weights=web=0", "--weights=web=1,web=2", "--weights=a b=1"])
def test_wrong_weights_are_a_wrong_flag(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings(wrong)
    assert ended.value.code == 2
    assert "weights" in capsys.readouterr().err


def test_flags_are_told_as_they_are_given() -> None:
    given = {"weights": "web=2,eng/ops=0.5", "agent_removal_rate_limit": "1/10mins", "offer_timeout": "30secs"}
    config = load(Config, [f"--{name}={text}" for name, text in given.items()], service="registry")
    assert {name: as_text(config)[name] for name in given} == given
