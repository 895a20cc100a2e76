"""One step of MJX whose derivative is taken at the solution of its constraints.

MJX finds the acceleration :math:`a` that minimises a piecewise quadratic cost by Newton iterations
in a loop that stops when it has converged, and such a loop has no reverse mode. Its maintainers'
way round is a single iteration, which leaves the physics unconverged and the derivative that of an
accident. What counts is where the loop ends, where the cost's gradient vanishes:

.. math:: g(a, \\theta) = M a - \\tau - J^T f(J a - a_{ref}) = 0,
   \\qquad \\frac{da}{d\\theta} = -H^{-1} \\frac{\\partial g}{\\partial \\theta}

with :math:`H = \\partial g / \\partial a`. One more Newton step from the solution, in which only
:math:`g` is differentiated, has this derivative, and does no harm to the value.
"""

import jax
from mujoco import mjx


def accelerate(model: mjx.Model, data: mjx.Data) -> mjx.Data:
    """Forward dynamics, differentiable in every direction: MuJoCo's ``mj_forward``, no sensors."""
    data = mjx.fwd_position(model, data)
    data = mjx.fwd_velocity(model, data)
    data = mjx.fwd_actuation(model, data)
    data = mjx.fwd_acceleration(model, data)
    # MJX keeps its constraints in the part of its data that it calls private; there is no other way
    # to them. In our models all are one-sided: limits and contacts.
    rows, reference = data._impl.efc_J, data._impl.efc_aref
    if not rows.shape[0]:
        return data.replace(qacc=data.qacc_smooth)
    solved = jax.lax.stop_gradient(mjx.solve(model, jax.lax.stop_gradient(data)).qacc)
    off = rows @ solved - reference
    stiffness = data._impl.efc_D * (off < 0)
    mass = mjx.full_m(model, data)
    gradient = mass @ solved - data.qfrc_smooth + rows.T @ (stiffness * off)
    hessian = jax.lax.stop_gradient(mass + (rows.T * stiffness) @ rows)
    factor = jax.scipy.linalg.cho_factor(hessian)
    acceleration = solved - jax.scipy.linalg.cho_solve(factor, gradient)
    return data.replace(qacc=acceleration, qfrc_constraint=mass @ acceleration - data.qfrc_smooth)


def step(model: mjx.Model, data: mjx.Data) -> tuple[mjx.Data, mjx.Data]:
    """One step with MuJoCo's ``implicitfast`` integrator.

    Returns:
        The forward dynamics at the step's beginning, and the state at its end.
    """
    now = accelerate(model, data)
    after = mjx.implicit(model, now)
    # Where the solver begins is no part of the physics.
    warm = jax.lax.stop_gradient(after.qacc_warmstart)
    return now, after.replace(qacc_warmstart=warm)
