"""DPVAE: rows are read into a few normal numbers and told from them again; rows are made from fresh numbers.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column, the rest is one plan of noised steps, both through
`PrivateTable`; where columns deserve nearly all they get all, and the model is that of independent columns. Encoder and decoder are
one network with one loss a row, clipped together; `DRAWS` draws of a row's numbers are averaged before. Sensitivity:
`privacy/table.py` and `privacy/training.py`.

The numbers that rows are read into are as private as the rows: none leave the kernel, nothing is fitted to them, the encoder is
forgotten. Rows are made from the prior, standard normal, and weighed to have the marginals measured (`network.py`). The decoder
moves each column's shares from those measured, and by nothing before the first step: the training starts at independent columns.

References: Kingma, Welling 2014 (arXiv 1312.6114); Xu et al. 2019 (arXiv 1907.00503), TVAE; Acs et al. 2018 (arXiv 1709.04514), under privacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dpsynth.deep.columns import Columns
from dpsynth.deep.network import Network
from dpsynth.encoding import Codec
from dpsynth.errors import Fault
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.schema import Schema
from dpsynth.synthesizers.generator import Fitted, Generator

Floats = npt.NDArray[np.float64]
HIDDEN, LATENT, DRAWS, MOST_STEPS = 64, 8, 4, 512


@dataclass(frozen=True)
class DPVAE(Generator):
    """A variational autoencoder of rows."""

    name: ClassVar[str] = "vae"
    trains: ClassVar[bool] = True

    def check(self, schema: Schema) -> list[Fault]:
        from dpsynth.deep.learning import faults_of

        return faults_of(self, schema)

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        columns = Columns.measured(table, attributes)
        if columns.all_there_is:
            return columns.independent()
        source = Network(columns.names, columns.sizes, _learnt(table, columns), LATENT, None, columns.margins, columns.total)
        return Fitted(source, Codec(columns.decoders), columns.answers)


def _learnt(table: PrivateTable, columns: Columns) -> tuple[tuple[Floats, Floats], ...]:
    """The decoder's layers."""
    from dpsynth.deep.learning import learn, started, weights_of
    from dpsynth.deep.modules import Autoencoder

    network = started(lambda: Autoencoder(columns.sizes, columns.logits, HIDDEN, LATENT, DRAWS))
    learn(table, network, columns, MOST_STEPS)
    return (weights_of(network.unfolding), network.unfolding.bias.detach().double().cpu().numpy()), (weights_of(network.telling), columns.logits)
