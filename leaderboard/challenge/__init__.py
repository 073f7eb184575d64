"""A challenge in a folder: what teams handed in is checked, scored, ranked and answered by one command.

The parts, in the order in which they are used: `settings` (challenge.yaml), `entries` (who handed in what, and when),
`facts` (submission.yaml), `verdicts` (accepted or refused, kept by content), `counting` (which submission of a team
counts), `answers` (a text for each team) and `board` (the files).
"""
