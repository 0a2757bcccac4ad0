"""Latent models: rows of many columns described by codes of few numbers.

All keep the contract `sbi_kit.contracts.Latent`: `fit`, `encode`, `decode`, `score`, `sample`. Each
has an `encoder()` besides, a frozen network of `encode`. `Bank.table` makes rows of simulations,
and a model fitted to these goes to `sbi_kit.fit` as its `summary`.
"""

from sbi_kit.latent.autoencoder import Autoencoder as Autoencoder
from sbi_kit.latent.classify import PPCAClassifier as PPCAClassifier
from sbi_kit.latent.order import Order as Order
from sbi_kit.latent.order import compare_components as compare_components
from sbi_kit.latent.pca import PCA as PCA
from sbi_kit.latent.ppca import PPCA as PPCA
from sbi_kit.latent.vae import VAE as VAE
