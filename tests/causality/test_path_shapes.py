"""Traces whose path is known: how they are written is told in :mod:`tests.causality.traces`."""

from __future__ import annotations

import pytest

from causal_otel.causality.critical_path import critical_path
from tests.causality.traces import path, trace


def _table(text: str) -> dict[str, tuple[str, str]]:
    """Traces and their paths by what they are: below each name stands the trace, and the path behind the sign."""
    found: dict[str, list[str]] = {}
    for line in text.strip().splitlines():
        if line[0] != " ":
            name = found[line] = []
        else:
            name.append(line.strip())
    halves = (" ".join(lines).partition("=") for lines in found.values())
    return {name: (text, expected.strip()) for name, (text, _, expected) in zip(found, halves, strict=True)}


WITHOUT_NUMBERS = _table("""
a span alone
    a 0-10
    = a 0-10
calls one after another
    a 0-10 | b<a 1-4 | c<a 5-9
    = a 0-1, b~ 1-4, a 4-5, c~ 5-9, a 9-10
a call that ends where the next begins (jaeger-ui#1943)
    a 0-10 | b<a 0-4 | c<a 4-7 | d<a 7-10
    = b~ 0-4, c~ 4-7, d~ 7-10
parallel calls
    a 0-10 | b<a 1-6 | c<a 1-9 | d<a 2-8
    = a 0-1, c? 1-9, a 9-10
parallel calls, twice
    a 0-20 | b<a 0-5 | c<a 0-9 | d<a 9-15 | e<a 9-19
    = c? 0-9, e? 9-19, a 19-20
two calls with the same times
    a 0-10 | b<a 2-8 | c<a 2-8
    = a 0-2, b? 2-8, a 8-10
calls within calls
    a 0-10 | b<a 2-8 | c<b 3-5 | d<b 4-7
    = a 0-2, b~ 2-4, d? 4-7, b~ 7-8, a 8-10
a child without a length
    a 0-10 | b<a 4-4
    = a 0-10
a child that is longer than its parent
    a 0-10 | b<a 2-12 | c<a 1-3
    = a 0-1, c~ 1-3, a 3-10
a child that begins before its parent
    a 0-10 | b<a -5-3
    = b~ 0-3, a 3-10
a child that was over before its parent began
    a 0-10 | b<a -9--8
    = a 0-10
a message that is worked on before its sending has ended
    a 0-10 | b<a 2-6 producer | c<b 3-5 consumer @worker
    = a 0-2, b~ 2-6, a 6-10
a detached child
    a 0-10 | b<a 8-9 detached | c<a 2-4
    = a 0-2, c~ 2-4, a 4-10
an interval of an open connection
    a 0-10 | b<a 0-9 open | c<b 2-4
    = a 0-2, c~ 2-4, a 4-10
a child without a time
    a 0-10 | b<a 10-10 untimed | c<b 2-4
    = a 0-2, c~ 2-4, a 4-10
a root without a time
    a 10-10 untimed | b<a 2-4
    =
a parent that is missing
    a 0-10 | b<gone 2-20
    = a 0-10
a server that ends after its client
    a 0-10 client | b<a 2-12 server @shop | c<b 5-11 @shop
    = a 0-2, b 2-5, c? 5-10
a server whose clock is behind
    a 0-10 client | b<a -48--42 server @shop ~50 | c<b -47--43 @shop ~50
    = a 0-2, b 2-3, c~ 3-7, b 7-8, a 8-10
gather(one, two): a wrong guess
    main 0-10 | foo1<main 0-4 | foo3<main 6-10 | foo2<main 0-5
    = foo2? 0-5, main 5-6, foo3~ 6-10
""")

WITH_NUMBERS = _table("""
gather(one, two) (jaeger-ui#2371)
    main 0-10 | foo1<main 0-4 #2 | foo3<main 6-10 #2>1 | foo2<main 0-5 #3>1
    = foo1 0-4, main 4-6, foo3 6-10
the same, each span with all that is known
    main 0-10 #1 | foo1<main 0-4 #2>1 | foo3<main 6-10 #2>1 | foo2<main 0-5 #3>1
    = foo1 0-4, main 4-6, foo3 6-10
the same, with more inside
    main 0-12 | foo1<main 0-4 #2 | q1<foo1 1-3 | foo3<main 6-10 #2>1 | q3<foo3 8-9 | foo2<main 0-5 #3>1
    = foo1 0-1, q1 1-3, foo1 3-4, main 4-6, foo3 6-8, q3 8-9, foo3 9-10, main 10-12
a gather in a gather
    main 0-12 | a<main 0-4 #2>1 | x<main 4-9 #4>2 | y<main 4-6 #5>2 | b<main 0-7 #3>1 | c<main 9-11
    = a 0-4, x 4-9, c 9-11, main 11-12
a task without a span of its own, which nobody is seen to wait for
    main 0-10 | x<main 0-3 #4>2 | y<main 3-9 #5>2 | b<main 0-5 #3>1
    = x? 0-3, y? 3-9, main 9-10
a task that is awaited in a span
    main 0-10 | y<main 0-8 #2>1 | collect<main 5-9
    = y 0-8, collect 8-9, main 9-10
a task that is started in a span and awaited in another
    main 0-10 | spawn<main 0-2 | y<spawn 1-8 #2>1 | collect<main 5-9
    = spawn 0-1, y 1-8, collect 8-9, main 9-10
a task that begins after the span that started it
    main 0-10 | spawn<main 0-2 | y<spawn 3-8 #2>1
    = spawn 0-2, until y 2-3, y 3-8, main 8-10
a task group whose body takes longer
    main 0-10 | a<main 0-4 #2>1 | q<main 1-9 client
    = main 0-1, q 1-9, main 9-10
as_completed
    main 0-12 | a<main 0-3 #2>1 | b<main 0-5 #3>1 | c<main 0-8 #4>1 | qa<main 3-4 client | qb<main 5-6 client
    | qc<main 8-9 client
    = c 0-8, qc 8-9, main 9-12
as_completed, slower than what it waits for
    main 0-12 | a<main 0-3 #2>1 | b<main 0-5 #3>1 | c<main 0-8 #4>1 | qa<main 3-7 client | qb<main 7-10 client
    | qc<main 10-11 client
    = a 0-3, qa 3-7, qb 7-10, qc 10-11, main 11-12
the first of two, the other is cancelled
    main 0-10 | a<main 0-3 #2>1 | b<main 0-5 #3 | q<main 3-9
    = a 0-3, q 3-9, main 9-10
a task that waits for one which another has started
    main 0-12 | q<main 0-4 | y<main 4-8 #2>3 | x<main 4-10 #3>1
    = q 0-4, y 4-8, x 8-10, main 10-12
the same, while that one is in a span
    main 0-14 | p<main 0-3 #3>1 | x<main 5-12 #3>1 | y<main 6-10 #2>3 | q<main 3-6
    = main 0-3, q 3-6, y 6-10, x 10-12, main 12-14
a task that nobody waited for
    main 0-10 | u<main 1-9 #2! | q<main 0-4
    = q 0-4, main 4-10
a task of which nothing more is known
    main 0-10 | u<main 1-9 #2 | q<main 0-4
    = main 0-1, u? 1-9, main 9-10
tasks that wait for each other
    main 0-10 | a<main 0-6 #2>3 | b<main 0-8 #3>2
    = b? 0-8, main 8-10
a task that waits for itself
    main 0-10 | a<main 0-6 #2>2
    = a? 0-6, main 6-10
threads that a task has started
    main 0-10 #1 | a<main 0-6 | b<main 0-8
    = b? 0-8, main 8-10
a span of the main task below one of another's
    main 0-10 | w<main 0-8 #2>1 | c<w 8-9 #1
    = w 0-8, c 8-9, main 9-10
another service, with numbers of its own
    main 0-20 | call<main 2-18 client | serve<call 3-17 server @shop | a<serve 4-9 #2>1 @shop
    | b<serve 4-12 #3>1 @shop | c<serve 12-16 @shop | task<main 0-1 #2>1
    = task 0-1, main 1-2, call 2-3, serve 3-4, b 4-12, c 12-16, serve 16-17, call 17-18, main 18-20
two calls of one process, each with numbers of its own
    main 0-20 | c1<main 0-9 client | s1<c1 1-8 server @shop | a1<s1 1-6 #2>1 @shop | b1<s1 1-4 #3>1 @shop
    | c2<main 10-20 client | s2<c2 11-19 server @shop | a2<s2 11-12 #2>1 @shop | b2<s2 11-18 #3>1 @shop
    = c1~ 0-1, a1 1-6, s1 6-8, c1~ 8-9, main 9-10, c2~ 10-11, b2 11-18, s2 18-19, c2~ 19-20
a process that calls itself
    main 0-10 | call<main 0-9 client #2>1 | serve<call 1-8 server remote | a<serve 2-4 #2>1 | b<serve 2-7 #3>1
    = call 0-1, serve 1-2, b 2-7, serve 7-8, call 8-9, main 9-10
""")

TO_THE_END = _table("""
a task that goes on after the answer
    a 0-10 | b<a 4-20
    = a 0-4, b 4-20
a detached task, beside which something ran
    a 0-10 | b<a 1-20 detached | c<b 12-15 | d<a 0-4
    = d? 0-1, b 1-12, c~ 12-15, b 15-20
a task that nobody waited for
    main 0-10 | u<main 5-20 #2! | q<main 0-4
    = q 0-4, main 4-5, u 5-20
what ran beside that
    main 0-10 | u<main 5-20 #2! | q<main 0-8 | v<main 0-7 #3!
    = main 0-5, u 5-20
tasks that nobody waited for, one after another
    main 0-4 | u<main 1-9 #2! | v<main 10-20 #3!
    = main 0-4, until v 4-10, v 10-20
a task of which nothing more is known, and that goes on
    main 0-10 | u<main 4-15 #2 | v<main 20-25 #3!
    = main 0-10, until v 10-20, v 20-25
a queue
    a 0-10 | s<a 4-6 producer | w<s 30-40 consumer @w | x<w 45-45 @w
    = a 0-4, s 4-6, until w 6-30, w 30-40, until x 40-45
a message that is worked on before its sending is over
    a 0-10 | s<a 4-6 producer | w<s 5-40 consumer @w
    = a 0-4, s 4-5, w 5-40
a root without a time
    a 10-10 untimed | b<a 2-4 | c<a 6-9
    = b? 2-4, until c 4-6, c 6-9
a message that is worked on while its sender goes on
    a 0-10 | s<a 0-1 producer | w<s 2-5 consumer @w | s2<a 6-7 producer | w2<s2 8-20 consumer @w
    = s~ 0-1, a 1-6, s2 6-7, until w2 7-8, w2 8-20
parents that are missing
    a 0-5 | b<gone 3-10 | c<gone 12-14
    = a? 0-3, b? 3-10, until c 10-12, c 12-14
a chord's body, sent by the last of its header
    req 0-4 | s1<req 1-2 producer | m1<s1 6-20 consumer @w | s2<req 2-3 producer | m2<s2 5-30 consumer @w
    | sb<m2 29-31 producer @w | body<sb 35-40 consumer @w chord-header:m1 chord-header:m2
    = req 0-1, s1~ 1-2, s2 2-3, until m2 3-5, m2 5-29, sb 29-31, until body 31-35, body 35-40
a chord's body, sent by somebody who has polled
    req 0-4 | s1<req 1-2 producer | m1<s1 6-20 consumer @w | s2<req 2-3 producer | m2<s2 5-30 consumer @w
    | sb<req 32-33 producer @w | body<sb 35-40 consumer @w chord-header:m1 chord-header:m2
    = req 0-1, s1~ 1-2, s2 2-3, until m2& 3-5, m2& 5-30, until sb 30-32, sb 32-33, until body 33-35, body 35-40
a chord whose header was tried again
    req 0-4 | s1<req 1-2 producer | m1<s1 6-20 consumer @w | s2<req 2-3 producer | m2<s2 5-30 consumer @w
    | again<s1 31-33 consumer @w retry:m1 | sb<req 34-35 producer
    | body<sb 35-40 consumer @w chord-header:m1 chord-header:m2
    = req 0-1, s1 1-2, until m1& 2-6, m1& 6-20, until again& 20-31, again& 31-33, until sb 33-34, sb 34-35,
      body 35-40
a retry
    req 0-4 | s<req 1-2 producer | t1<s 3-6 consumer @w | t2<s 20-25 consumer @w retry:t1
    = req 0-1, s 1-2, until t1& 2-3, t1& 3-6, until t2 6-20, t2 20-25
a retry at once
    req 0-4 | s<req 1-2 producer | t1<s 3-6 consumer @w | t2<s 6-9 consumer @w retry:t1
    = req 0-1, s 1-2, until t1& 2-3, t1& 3-6, t2 6-9
a retry that begins before the attempt has ended which sent it
    req 0-4 | s<req 1-2 producer | t1<s 3-9 consumer @w | s2<t1 6-7 producer @w | t2<s 8-12 consumer @w retry:t1
    = req 0-1, s 1-2, until t1& 2-3, t1& 3-6, s2~ 6-7, t1& 7-8, t2 8-12
a task of a chain, sent by the one before
    req 0-4 | s<req 1-2 producer | t1<s 3-9 consumer @w | s2<t1 5-6 producer @w | t2<s2 20-25 consumer @w chain:t1
    | x<t1 6-9 @w
    = req 0-1, s 1-2, until t1 2-3, t1 3-5, s2 5-6, until t2 6-20, t2 20-25
links in a circle
    a 0-4 | b<a 4-4 retry:c | c<a 4-4 retry:b | d<a 6-8 retry:b
    = a 0-4, until d 4-6, d 6-8
links that lead nowhere, or to itself
    a 0-4 | b<a 6-8 retry:gone retry:b chain:b/other
    = a 0-4, until b 4-6, b 6-8
a batch of messages
    a 0-4 producer | b 2-7 producer | w 20-30 consumer :a :b
    = a? 0-2, b& 2-7, until w 7-20, w 20-30
""")


@pytest.mark.parametrize("shape", WITHOUT_NUMBERS)
def test_path_to_the_answer_without_numbers_of_tasks(shape: str) -> None:
    """The child that ended last was waited for; where several ran at once that is a guess, and says so."""
    text, expected = WITHOUT_NUMBERS[shape]
    assert path(critical_path(trace(text))) == expected


@pytest.mark.parametrize("shape", WITH_NUMBERS)
def test_path_to_the_answer_with_numbers_of_tasks(shape: str) -> None:
    """Within a task the path goes back span by span, into another one where that was waited for."""
    text, expected = WITH_NUMBERS[shape]
    assert path(critical_path(trace(text))) == expected


@pytest.mark.parametrize("shape", TO_THE_END)
def test_path_to_the_end(shape: str) -> None:
    """All work counts; a link leads to what had to be over before, and what had not started was waited for."""
    text, expected = TO_THE_END[shape]
    assert path(critical_path(trace(text), until="end")) == expected
