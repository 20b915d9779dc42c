import server


def test_the_public_names_are_there_and_sorted() -> None:
    assert sorted(server.__all__, key=lambda name: (not name.isupper(), name)) == server.__all__
    assert all(hasattr(server, name) for name in server.__all__)
