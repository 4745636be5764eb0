import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("key_value", "ledger", "programs", "scripted")))
MODULES = ("accounts", "key_value", "programs", "scripted")

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in MODULES))
