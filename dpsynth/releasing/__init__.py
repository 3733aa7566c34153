"""From an order to a signed bundle or a refusal: plan, split, gate, certificate, bundle, reports, verification."""
