# pragma version ==0.4.3
"""
@title The market of sealed models, its two state tables (protocol sections 6 and 7) on the EVM
@notice Tasks and offers are digests; whoever sends a command brings the struct, which is hashed and looked up.
    `locked`, ciphertexts' and envelopes' digests are logged. Refusals are custom errors named as the chaincode's codes.

    Amounts are units of 10**9 wei. A command that costs something is paid with it, what is over is credited. What is
    due to somebody is credited, too, and pulled by `pull`: no other function sends ether, and it does so last.

    state       command                 next
    (none)      submit_offer            OFFERED
    OFFERED     withdraw_offer          WITHDRAWN
    OFFERED     rewrap                  OFFERED
    OFFERED     receipt                 STORED by the provider's organisation, else OFFERED
    STORED      rewrap, receipt         STORED
    STORED      claim                   CLAIMED
    CLAIMED     claim                   CLAIMED
    CLAIMED     lapse                   CLAIMED, STORED without a claim or report left
    CLAIMED     submit_report           CLAIMED; the last one: DECLINED, FAILED, VOID, LOCKED, LEADING, OUTBID
    OFFERED, STORED, CLAIMED  expire    EXPIRED
    LEADING     award_offer             LOCKED
    LEADING     a better offer's report DISPLACED
    LOCKED      reveal                  SETTLED
    LOCKED      forfeit                 FORFEITED
    SETTLED     acknowledge             SETTLED
"""
import book
import claim_rules
import offer_rules
import report_rules
import settlement_rules
import task_rules

initializes: book
initializes: task_rules[book := book]
initializes: offer_rules[book := book]
initializes: claim_rules[book := book]
initializes: report_rules[book := book]
initializes: settlement_rules[book := book]

exports: (
    book.__interface__,
    task_rules.__interface__,
    offer_rules.__interface__,
    claim_rules.__interface__,
    report_rules.__interface__,
    settlement_rules.__interface__,
)


@deploy
def __init__(registry: address):
    book.__init__(registry)
