"""The pure core: vocabulary, facts, tables, decisions. No await, clock, random, log, file or network in here."""
