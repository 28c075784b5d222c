"""Adam with the clipping folded in, for steps so small that calls are most of them."""

import math

import torch
from torch.optim.adam import adam


class ClippedAdam(torch.optim.Adam):
    """Adam (Kingma and Ba 2014, arXiv 1412.6980) whose step clips the gradient first.

    Parameters
    ----------
    params : iterable
        As for :class:`torch.optim.Adam`.

    max_norm : float or None, default=None
        Largest norm of the gradient of all parameters together.

    **kwargs : dict
        As for :class:`torch.optim.Adam`.
    """

    def __init__(self, params, *, max_norm=None, **kwargs):
        super().__init__(params, fused=True, **kwargs)
        # Among what torch pickles of an optimiser.
        self.defaults["max_norm"] = max_norm

    @torch.no_grad()
    def step(self):
        """Clip the gradient and take a step."""
        groups = [
            (group, [p for p in group["params"] if p.grad is not None])
            for group in self.param_groups
        ]
        scale = self._scale([p.grad for _, parameters in groups for p in parameters])
        for group, parameters in groups:
            if not parameters:
                continue
            moments = [self._moments(p) for p in parameters]
            adam(
                parameters,
                [p.grad for p in parameters],
                [moment["exp_avg"] for moment in moments],
                [moment["exp_avg_sq"] for moment in moments],
                [],
                [moment["step"] for moment in moments],
                fused=True,
                grad_scale=scale,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )

    # Torch would wrap it, for its profiler and for hooks, which takes longer than a small step.
    step.hooked = True

    def moments(self):
        """Copy the moments out: a dict of arrays for the number of each trained parameter."""
        return {
            i: {name: value.cpu().numpy().copy() for name, value in moments.items()}
            for i, moments in self.state_dict()["state"].items()
        }

    def restore(self, moments):
        """Go on from the moments of another fit, but for parameters of another shape.

        Parameters
        ----------
        moments : dict
            What :meth:`moments` gave.
        """
        parameters = [p for group in self.param_groups for p in group["params"]]
        state = self.state_dict()
        state["state"] = {
            i: {name: torch.from_numpy(value.copy()) for name, value in of_one.items()}
            for i, of_one in moments.items()
            # A read-out of another target begins anew.
            if of_one["exp_avg"].shape == tuple(parameters[i].shape)
        }
        self.load_state_dict(state)

    def _scale(self, gradients):
        """By what Adam divides the gradients as it goes, which saves a pass; None: by nothing."""
        max_norm = self.defaults["max_norm"]
        if max_norm is None or not gradients:
            return None
        squares = [torch.dot(gradient, gradient) for gradient in map(torch.flatten, gradients)]
        if squares[0].device.type != "cpu":
            # Reading the norm might save the division, but would make a GPU wait for the host.
            return (torch.stack(squares).sum().sqrt() / max_norm).clamp(min=1)
        norm = math.sqrt(sum(map(float, squares)))
        if not norm > max_norm:
            return None
        return torch.tensor(norm / max_norm, dtype=torch.float32, device="cpu")

    def _moments(self, parameter):
        state = self.state[parameter]
        if not state:
            # As torch.optim.Adam lays them out, so that its state_dict holds them.
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
