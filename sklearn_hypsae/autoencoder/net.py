"""The skorch net that trains a :class:`~.module.SparseAutoencoder`."""

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping

from .iterators import SliceIterator, StreamedRows, StreamIterator
from .losses import BatchLoss, batch_loss, learn

# The dead are counted on the host, so not at every step: that would stall a GPU.
STEPS_BETWEEN_DEATH_CHECKS = 16


class AutoencoderNet(NeuralNet):
    """Train with a decoder of unit rows, clipped gradients and sums kept on the device.

    Parameters
    ----------
    module : SparseAutoencoder

    shuffle : RandomState, default=None
        Orders the training batches.

    save_snapshot : callable, default=None
        Called by callbacks with a path and whether training has ended; saves an estimator with
        the present weights.

    **kwargs : dict
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(self, module, *, shuffle=None, save_snapshot=None, **kwargs):
        super().__init__(module, criterion=torch.nn.Identity, **kwargs)
        self.shuffle = shuffle
        self.save_snapshot = save_snapshot

    def initialize_module(self):
        """Move the module to the device; no neuron is dead yet."""
        super().initialize_module()
        self.dead_ = torch.zeros(0, dtype=torch.long, device=self.device)
        self.trained_ = [p for p in self.module_.parameters() if p.requires_grad]
        return self

    def learn_from(self, rows):
        """Train to the end; unlike ``partial_fit``, end with Ctrl-C and leave no trained net."""
        self.notify("on_train_begin", X=rows, y=None)
        try:
            self.fit_loop(rows)
        except KeyboardInterrupt:
            # Early stopping raises it too.
            if not any(stopping.misses_ == stopping.patience for stopping in self.early_stopping()):
                raise
        self.notify("on_train_end", X=rows, y=None)

    def early_stopping(self):
        """Give the callbacks that may end training early: list of EarlyStopping."""
        return [c for _, c in self.callbacks_ if isinstance(c, EarlyStopping)]

    def get_iterator(self, dataset, training=False):
        """Slice batches instead of collating them row by row."""
        if isinstance(dataset, StreamedRows):
            return StreamIterator(dataset, self.batch_size, self.shuffle)
        if training:
            return SliceIterator(dataset, self.batch_size, self.shuffle)
        return SliceIterator(dataset, max(self.batch_size, 2048))

    def train_step(self, batch, **fit_params):
        """Take one step of the optimiser."""
        module = self.module_
        if not module.training:
            module.train()
        for parameter in self.trained_:
            parameter.grad = None
        step = learn(module, *batch, self.dead_)
        self.optimizer_.step()
        module.normalise_decoder()
        self._count_dead()
        return step

    @torch.no_grad()
    def validation_step(self, batch, **fit_params):
        """Compute the loss of a batch without learning or counting from it."""
        self.module_.eval()
        return batch_loss(self.module_, *batch, self.dead_[:0])

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch, reading the sums off the device once, at its end."""
        if iterator is None:
            return
        total, n_rows = torch.zeros(len(BatchLoss._fields), device=self.device), 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            # Kept until the end, the terms would be splinters between the large blocks of memory.
            total.add_(torch.stack(step), alpha=batch[0].shape[0])
            n_rows += batch[0].shape[0]
            self.notify("on_batch_end", batch=batch, training=training, loss=step.loss, y_pred=None)
        loss, fvu, n_active, target_error = (total / n_rows).tolist()
        earlier = [row[f"{prefix}_loss"] for row in self.history[:-1]]
        self.history.record(f"{prefix}_loss", loss)
        self.history.record(f"{prefix}_loss_best", loss < min(earlier, default=np.inf))
        self.history.record(f"{prefix}_fvu", fvu)
        self.history.record(f"{prefix}_l0", n_active)
        if self.module_.settings.target_coef:
            self.history.record(f"{prefix}_target_error", target_error)
        if training:
            self.history.record("dead_fraction", self.module_.is_dead().float().mean().item())

    def _count_dead(self):
        module = self.module_
        if module.settings.aux_coef and module.n_steps % STEPS_BETWEEN_DEATH_CHECKS == 0:
            self.dead_ = module.is_dead().nonzero().squeeze(1)
