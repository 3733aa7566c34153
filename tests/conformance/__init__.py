"""The conformance suite: thirty-five rules, each a fault that some generator shipped with, asked of any generator. See docs/conformance.md."""
