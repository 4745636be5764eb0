import pytest

MODULES = ("accounts", "key_value", "ledger", "programs", "scripted")

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in MODULES))
