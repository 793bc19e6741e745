"""From a question to an answer: designs, trials, the ledger of what was found, statistics and reports."""
