

def test_what_is_for_no_role_by_name_stays_unreserved() -> None:
    assert parse("cpus(*):1;mem:32", default_role="ads") == parse("cpus:1;mem(ads):32")
