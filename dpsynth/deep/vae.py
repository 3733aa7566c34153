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

from dpsynth.deep.columns import Columns
from dpsynth.deep.likely import Likely
from dpsynth.deep.network import Network
from dpsynth.privacy import PrivateTable

HIDDEN, LATENT, DRAWS = 64, 8, 4


@dataclass(frozen=True)
class DPVAE(Likely):
    """A variational autoencoder of rows."""

    name: ClassVar[str] = "vae"

    def _learnt(self, table: PrivateTable, columns: Columns) -> Network:
        from dpsynth.deep.learning import learn, started, weights_of
        from dpsynth.deep.modules import Autoencoder

        network = started(lambda: Autoencoder(columns.sizes, columns.logits, HIDDEN, LATENT, DRAWS))
        learn(table, network, columns)
        unfolding = weights_of(network.unfolding), network.unfolding.bias.detach().double().cpu().numpy()
        layers = unfolding, (weights_of(network.telling), columns.logits)
        return Network(columns.names, columns.sizes, layers, LATENT, None, columns.margins, columns.total)
