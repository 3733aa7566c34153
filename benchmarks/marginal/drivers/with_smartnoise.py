"""smartnoise-synth: MST and AIM, rows drawn independently: the sampler it takes from mbi 1.1 ties unrelated columns together; DPCTGAN, cut short.

An epoch of DPCTGAN on 39,074 rows takes it about a minute of processor, and with its own noise of 5 a budget of (1, 1e-5) lasts for some 140.
It gets `EPOCHS`, and about as little noise as these can have at either budget.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from driver import Job, Work, drive

EPOCHS, NOISE = 4, {1.0: 1.2, 8.0: 0.56}


def prepare(job: Job) -> Work:
    from mbi import MarkovRandomField
    from snsynth import Synthesizer

    rounded = MarkovRandomField.synthetic_data

    def independently(self: Any, rows: int | None = None, method: str = "sample") -> Any:
        return rounded(self, rows, "sample")

    MarkovRandomField.synthetic_data = independently
    cut = {"epochs": EPOCHS, "sigma": NOISE.get(job.epsilon)}
    options = {"aim": {"degree": job.workload, "max_model_size": 80}, "dpctgan": cut}.get(job.method, {})
    synthesizer = Synthesizer.create(job.method, epsilon=job.epsilon, delta=job.delta, **options)

    def work() -> pd.DataFrame:
        synthesizer.fit(job.rows, categorical_columns=list(job.sizes), preprocessor_eps=0.0)
        return synthesizer.sample(len(job.rows))

    return work


if __name__ == "__main__":
    drive(prepare, "smartnoise-synth", "mbi")
