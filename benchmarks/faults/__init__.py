"""Faults on purpose: releases and ledgers are killed, starved of disk, raced and cut short, and every promise is checked after each."""
