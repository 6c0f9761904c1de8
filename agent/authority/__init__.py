"""The one gate: who asks, whether they may, and the journal of what they did.

``person`` tells the user id and the login of whoever opened the agent's socket. ``gate`` has the table of all acts, such as
stopping a session, says who may do each, and writes ``acts.jsonl``. Nothing is carried out here: the rooms above do that, once
the gate has let the act pass.
"""
