# pragma version ==0.4.3
"""
@title Somebody who calls the market again while it pays
"""

MOST: constant(uint256) = 3


interface Market:
    def pull(): nonpayable


market: address
again: Bytes[1024]
refuses: bool
calls: public(uint256)
succeeded: public(uint256)


@deploy
def __init__(market: address):
    self.market = market


@external
def plan(again: Bytes[1024], refuses: bool):
    """
    @param again What is sent to the market whenever it pays.
    @param refuses Whether no money is taken at all.
    """
    self.again = again
    self.refuses = refuses


@external
def attack():
    extcall Market(self.market).pull()


@external
@payable
def __default__():
    assert not self.refuses
    if self.calls < MOST:
        self.calls += 1
        if raw_call(self.market, self.again, revert_on_failure=False):
            self.succeeded += 1
