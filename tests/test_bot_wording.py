"""Claims about wordings: two questions are one only where their words are the same, in the same order."""

import time

import pytest

from bot.wording import wording


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How long is the Aare?", "how long is the aare"),
        ("How do I reset my password?", "Hello, how can I reset my password, please?"),
        ("How do I reset my password?", "How to reset my password"),
        ("What's the upload limit?", "What is the upload limit exactly?"),
        ("How long is the warranty?", "Hi! Please tell me: how long is the warranty?"),
        ("Who may approve an adapter?", "Could you tell me who may approve an adapter? Thank you."),
        ("How do I delete a key?", "How do I delete keys?"),
        ("How long do refunds take?", "How long does a refund take?"),
        ("How do I turn on two-factor login?", "how do i turn on two factor login"),
        ("Why can't I log in?", "Why can’t I log in?"),
        ("Was kostet der Eintritt?", "was kostet der Eintritt"),
        ("How do I contact US support?", "How can I contact the US support? Thanks."),
        ("Who may delete a key?", "who may delete the keys"),
        ("Is there a fee?", "Is there the fee?"),
        ("Hello! How long is the Aare?!", "How long is the Aare"),
        ("Hi!! How long is the “Aare!”?", "How long is the Aare?"),
        ("How do I sign in (in the app)?", "How do I sign in in the app?"),
        ("How do I sign in [in the app]?", "How do I sign in (in the app)?"),
        ("How do I sign in (app): by password?", "How do I sign in, app, by password?"),
        ("**Important!** How long is it?", "** important ** how long is it"),
        ("How much CO₂ is it?", "How much CO2 is it?"),
        ("What is 10⁹?", "What is 10^9?"),
        ("你好！如何重置密码（登录）？", "你好，如何重置密码 (登录)?"),
        ("Which sales are final?", "Which sales are final"),
        ("Which topics are there?", "Which topic is there?"),
    ],
)
def test_the_same_words_in_the_same_order_are_one_question(one: str, other: str) -> None:
    assert wording(one) == wording(other) != ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I enable backups?", "How do I disable backups?"),
        ("What changed in version 2?", "What changed in version 3?"),
        ("Can I delete a key?", "Can I not delete a key?"),
        ("Is smoking allowed inside the building?", "Is smoking allowed outside the building?"),
        ("What is the upload limit for free accounts?", "What is the upload limit for paid accounts?"),
        ("What is the upload limit for free accounts?", "What is the upload limit for accounts?"),
        ("How long is the river Aare?", "How long is the Aare?"),
        ("How do I convert miles to kilometres?", "How do I convert kilometres to miles?"),
        ("Can an admin delete a reviewer?", "Can a reviewer delete an admin?"),
        ("Do I pay tax on gifts from my employer?", "Do I pay tax on gifts to my employer?"),
        ("What is the maximum dose of ibuprofen for children?", "What is the maximum dose of ibuprofen?"),
        ("Can I cancel my order?", "Can I cancel my order after delivery?"),
        ("Can I return shoes?", "Can I return worn shoes?"),
        ("Wie lange ist die Garantie?", "Wie lange ist die Garantie nicht?"),
        ("Wem gehört die Firma?", "Wem gehört die Firma an?"),
        ("Does my contract end when I die?", "Does my contract end when you die?"),
        ("How do I turn on two-factor login?", "How do I turn two-factor login off?"),
        ("Is it cheaper to rent than to buy?", "Is it cheaper to buy than to rent?"),
        ("Is vitamin A safe?", "Is vitamin safe?"),
        ("Are a few users affected?", "Are few users affected?"),
        ("Is C++ supported?", "Is C supported?"),
        ("Is it below -5 degrees?", "Is it below 5 degrees?"),
        ("Who can see my data?", "Who can't see my data?"),
        ("Who approved the adapter?", "Who approves the adapter?"),
        ("How do I contact US support?", "How do I contact us support?"),
        ("What is IT policy?", "What is it policy?"),
        ("How do I read PDFs?", "How do I read pdf?"),
        ("How do I close Windows?", "How do I close the window?"),
        ("Which dose of vitamin a is safe?", "Which dose of vitamin is safe?"),
        ("Is hepatitis a or b worse?", "Is hepatitis or b worse?"),
        ("Was vitamin a in it?", "Was vitamin in it?"),
        ("What happens where status != archived?", "What happens where status = archived?"),
        ("Is customer_country != Switzerland?", "Is customer_country = Switzerland?"),
        ("What does a!=b return?", "What does a=b return?"),
        ("How large are 10⁹ documents?", "How large are 109 documents?"),
        ("How large are 2¹⁰ bytes?", "How large are 210 bytes?"),
        ("Do I need customs approval?", "Do I need custom approval?"),
        ("How do I count goods deliveries?", "How do I count good deliveries?"),
        ("Where is the news policy?", "Where is the new policy?"),
        ("Who carries the arms?", "Who carries the arm?"),
        ("What does $(name) do?", "What does ${name} do?"),
        ("What does $(name) do?", "What does $name do?"),
        ("What does [a-z] match?", "What does (a-z) match?"),
        ("What does f(x) return?", "What does f x return?"),
        ("What is 2*(3+4)?", "What is 2*3+4?"),
        ("What does !important do?", "What does important do?"),
        ("What does !(a) match?", "What does (a) match?"),
        ("What is 10:5?", "What is 10-5?"),
        ("What does std::map do?", "What does std:map do?"),
    ],
)
def test_a_word_more_or_another_order_is_another_question(one: str, other: str) -> None:
    assert wording(one) != wording(other)


@pytest.mark.parametrize("part", ["(", "[", "[a ", "a ", "!", ":", "²", "a:", "$(", "hi "])
def test_long_questions_take_no_longer_than_their_length(part: str) -> None:
    def seconds(length: int) -> float:
        text, begun = part * (length // len(part)), time.process_time()
        wording(text)
        return time.process_time() - begun

    assert seconds(100_000) < max(40 * min(seconds(10_000) for _ in range(3)), 0.5)


@pytest.mark.parametrize("nothing", ["", "?", "Hello, please!"])
def test_no_words_are_no_question(nothing: str) -> None:
    assert wording(nothing) == ()
