"""Checkpoints of a long fit, as files that the estimator loads."""

from numbers import Integral
from pathlib import Path

from skorch.callbacks import Callback

from .files import refuse_unwritable


class Checkpoint(Callback):
    """Save the autoencoder while it trains, so that a fit that is killed is not lost.

    The file is what :meth:`~sklearn_hypsae.SparseAutoencoderTransformer.save` writes: ``load``
    gives a fitted autoencoder with the weights of the last epoch that was saved, and with
    ``warm_start`` its ``fit`` goes on from them. When training ends, the file holds what
    ``fit`` leaves, with early stopping the best weights. It is replaced as a whole, so that
    whenever the process dies, the file is the last checkpoint or the one before. Each takes
    about as long as ``transform`` of the training rows if neurons are dead, less if not.

    Fits that run side by side, as in a grid search, need a path each.

    Parameters
    ----------
    path : str or Path
        The file, in a folder that exists. A file that is there is replaced.

    every_n_epochs : int, default=1
        Epochs from one checkpoint to the next. Each call of ``partial_fit`` is saved.

    Raises
    ------
    ValueError
        By ``fit``, before training: if the folder does not exist, ``path`` is a folder, or
        ``every_n_epochs`` is not a positive integer.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sklearn_hypsae.autoencoder import Checkpoint
    >>> from sklearn_hypsae.sae import SparseAutoencoderTransformer
    >>> X = np.random.default_rng(0).normal(size=(200, 16))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "sae.safetensors"
    ...     sae = SparseAutoencoderTransformer(
    ...         M=16, K=4, n_epochs=3, random_state=0, callbacks=[Checkpoint(path)]
    ...     )
    ...     components = sae.fit(X).components_
    ...     loaded = SparseAutoencoderTransformer.load(path)
    >>> bool((loaded.components_ == components).all())
    True
    """

    def __init__(self, path, every_n_epochs=1):
        self.path = path
        self.every_n_epochs = every_n_epochs

    def check_before_training(self):
        """Refuse what would only fail after the first epoch."""
        if not isinstance(self.every_n_epochs, Integral) or self.every_n_epochs < 1:
            raise ValueError(
                f"Checkpoint expects every_n_epochs to be a positive integer, got "
                f"{self.every_n_epochs!r}."
            )
        refuse_unwritable(Path(self.path), "Checkpoint")

    def on_epoch_end(self, net, **kwargs):
        """Save the present weights."""
        if len(net.history) % self.every_n_epochs == 0:
            net.save_snapshot(self.path)

    def on_train_end(self, net, **kwargs):
        """Save the weights that ``fit`` leaves: early stopping has restored the best."""
        net.save_snapshot(self.path, ended=True)
