"""Dense float64 twins of the formulas, written from the paper's equations and from nothing in the package."""

import math

import numpy as np


def initial_weight(magnitude, total_steps):
    return min(1.0, magnitude / total_steps)


def boost_weight(step, total_steps, magnitude):
    return initial_weight(magnitude, total_steps) * (1 - step / total_steps) if step < total_steps else 0.0


def blend(grad, anchor, weight):
    """Equation 2."""
    return weight * _array(anchor) + (1 - weight) * _array(grad)


def mean_gradient(steps):
    """Equation 5: one array per step."""
    return sum(_array(step) for step in steps) / len(steps)


def similarity(grads, anchors):
    """Equation 7 over all parameters; projection of the unit gradient on the anchor's direction."""
    g = np.concatenate([_array(grad).ravel() for grad in grads])
    a = np.concatenate([_array(anchor).ravel() for anchor in anchors])
    if not g.any() or not a.any():
        return 0.0
    direction = a / np.linalg.norm(a)
    return float(np.linalg.norm(direction * (direction @ (g / np.linalg.norm(g)))))


def correction(similarity_, base):
    """Equation 8."""
    return 1.0 / (similarity_ + base)


def best_rank(matrix, rank):
    """Eckart-Young: the best approximation, and its share of the squared norm."""
    u, s, vh = np.linalg.svd(_array(matrix), full_matrices=False)
    total = float((s**2).sum())
    return (u[:, :rank] * s[:rank]) @ vh[:rank], float((s[:rank] ** 2).sum()) / total if total else 1.0


def rounded_to_8_bits(lines, block=64):
    """Each line of a matrix in blocks, each block in steps of its largest number / 127; no rounding of the step."""
    result = _array(lines).copy()
    for line in result:
        for start in range(0, len(line), block):
            part = line[start : start + block]
            step = abs(part).max() / 127
            part[:] = np.round(part / step) * step if step else 0.0
    return result


def weighted_mean(matrices, weights):
    return sum(weight * _array(matrix) for matrix, weight in zip(matrices, weights, strict=True)) / sum(weights)


def cosine(a, b):
    a, b = _array(a).ravel(), _array(b).ravel()
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def adam_direction(grads, beta1=0.9, beta2=0.999, eps=1e-8):
    """m̂/(√v̂ + ε) after the last of the gradients (equation 9 without rate and correction)."""
    m = v = 0.0
    for count, grad in enumerate(grads, 1):
        g = _array(grad)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        direction = (m / (1 - beta1**count)) / (np.sqrt(v / (1 - beta2**count)) + eps)
    return direction


def _array(value):
    detach = getattr(value, "detach", None)
    return np.asarray(detach().double().cpu().numpy() if detach else value, dtype=np.float64)


def from_spectrum(values, vectors, rest=0.0):
    """A symmetric matrix from its largest eigenvalues and one for all the rest of the space."""
    values = _array(values)
    if vectors is None:
        return np.diag(values)
    v = _array(vectors)
    return (v * values) @ v.T + rest * (np.eye(len(v)) - v @ v.T)


def kronecker_curvature(rows, columns, *, outside=True):
    """F of vec(W), W (m, n) row by row; ``outside=False``: nothing where both sides are beyond their directions."""
    full = np.kron(from_spectrum(*rows), from_spectrum(*columns))
    if outside or rows[1] is None:
        return full
    beyond = [np.eye(len(side[1])) - _array(side[1]) @ _array(side[1]).T for side in (rows, columns)]
    return full - rows[2] * columns[2] * np.kron(*beyond)


def curvature_diagonal(terms, diagonal):
    """Diagonal of F as an array: of Kronecker terms the sum, of a product the outer one."""
    if not terms:
        if hasattr(diagonal, "rows"):
            return np.outer(_array(diagonal.rows), _array(diagonal.columns))
        return _array(diagonal)
    return sum(np.outer(_diagonal(rows), _diagonal(columns)) for rows, columns in terms)


def _diagonal(side):
    return _array(side.values) if side.vectors is None else np.diag(from_spectrum(*side))


def proximal_step(weight, start, curvature, strength):
    """argmin ½‖W' − W‖² + ½ μ (W' − W0)ᵀ F (W' − W0), and the quadratic form ½ ΔᵀFΔ before and after."""
    w, w0 = _array(weight), _array(start)
    before = (w - w0).ravel()
    after = np.linalg.solve(np.eye(len(before)) + strength * curvature, before)
    forms = [float(d @ curvature @ d) / 2 for d in (before, after)]
    return w0 + after.reshape(w.shape), forms


def fisher_of_linear(inputs, grads):
    """Moments of one linear layer, from x and g of single sequences (T, n), (T, m): A, G and the trace of F."""
    inputs, grads = [_array(x) for x in inputs], [_array(g) for g in grads]
    a = sum(x.T @ x for x in inputs) / sum(len(x) for x in inputs)
    g = sum(item.T @ item for item in grads) / len(grads)
    trace = sum(((one.T @ x) ** 2).sum() for x, one in zip(inputs, grads, strict=True)) / len(grads)
    return a, g, float(trace)


def agem(grads, anchors):
    """Chaudhry et al. 2019, equation 11, on the concatenated gradients."""
    g, ref = _flat(grads), _flat(anchors)
    return g if g @ ref >= 0 else g - (g @ ref) / (ref @ ref) * ref


def pcgrad(grads, anchors, weight=1.0):
    """Yu et al. 2020, algorithm 1, for the tasks [g, weight · anchor], written as the loop of the paper."""
    tasks = [_flat(grads), weight * _flat(anchors)]
    changed = [task.copy() for task in tasks]
    for i in range(2):
        other = tasks[1 - i] if weight else [_flat(grads), _flat(anchors)][1 - i]
        inner = changed[i] @ other
        if inner < 0:
            changed[i] -= inner / (other @ other) * other
    return changed[0] + changed[1]


def gradnorm_equal(grads, anchors, steps=20_000):
    """Chen et al. 2018, equation 2 at α = 0 and Σ w = 2, by descent with a falling rate as the paper's algorithm 1."""
    norms = np.array([np.linalg.norm(_flat(grads)), np.linalg.norm(_flat(anchors))])
    w = np.ones(2)
    for step in range(steps):
        sizes = w * norms
        # d|G_i − Ḡ|/dw_i with Ḡ held fixed; the rate is in units of the weights
        slope = np.sign(sizes - sizes.mean()) * norms
        w = np.maximum(w - 0.5 / (step + 2) * slope / norms.sum(), 0.0)
        w *= 2 / w.sum()
    return w[0] * _flat(grads) + w[1] * _flat(anchors)


def _flat(tensors):
    return np.concatenate([_array(tensor).ravel() for tensor in tensors])
