// The head, on the lanes of the including file: x = sum / n, y = beta * tanh(alpha * x + bias),
// y / max(|y|, 1e-12), each step rounded to float32, none fused.
//
// Sixteen dimensions go at a time whatever the width of a lane group, so that the sum of squares
// is the same everywhere: running sum i holds the dimensions i mod 16, and the sixteen are added
// as a tree (i and i+8, i and i+4, i and i+2, the last two).

constexpr size_t kBlockDims = 16;
constexpr size_t kBlockVectors = kBlockDims / kLaneCount;

// tanh within 2 ulp (1.60 over every float32). Up to 0.625 an odd polynomial, Cephes' coefficients;
// above it 1 - 2 / (exp(2|x|) + 1) with the sign of x. A NaN fails the comparison and comes out of
// the first piece. From 9.02 on the result is 1, so |x| stops at 10 and the exponent fits.
//
// exp(2|x|) = 2^y with y = |x| * 2/ln 2, split into a whole n and a fraction: adding 1.5 * 2^23
// rounds to a whole number, half to even, on every machine alike, and leaves n in the low bits of
// the sum, from where a shift adds it to the exponent of 2^fraction, 1 + f * P(f). P is the
// minimax polynomial on [-1/2, 1/2] (relative error 2e-9). What y loses by its one rounding hardly
// matters: the quotient, and so the error, shrinks as fast as y grows. Trained heads keep most
// values below 0.625, so the second piece is left out where no lane wants it.
inline Floats tanh_2ulp(Floats x) noexcept {
    const Floats square = mul(x, x);
    Floats p = broadcast(-5.70498872745e-3f);
    p = add(mul(p, square), broadcast(2.06390887954e-2f));
    p = sub(mul(p, square), broadcast(5.37397155531e-2f));
    p = add(mul(p, square), broadcast(1.33314422036e-1f));
    p = sub(mul(p, square), broadcast(3.33332819422e-1f));
    const Floats small = add(mul(mul(p, square), x), x);
    const Floats boundary = broadcast(0.625f);
    const Floats magnitude = abs(x);
    if (!any_less(boundary, magnitude)) return small;

    const Floats one = broadcast(1.0f);
    const Floats rounder = broadcast(12582912.0f);
    const Floats y = mul(min(magnitude, broadcast(10.0f)), broadcast(2.885390081777927f));
    const Floats shifted = add(y, rounder);
    const Floats fraction = sub(y, sub(shifted, rounder));
    Floats e = broadcast(1.5353361959569156e-4f);
    e = add(mul(e, fraction), broadcast(1.3398873852565885e-3f));
    e = add(mul(e, fraction), broadcast(9.61843691766262e-3f));
    e = add(mul(e, fraction), broadcast(5.5503323674201965e-2f));
    e = add(mul(e, fraction), broadcast(2.4022647738456726e-1f));
    e = add(mul(e, fraction), broadcast(6.931471824645996e-1f));
    e = add(mul(e, fraction), one);
    e = add_to_exponent(e, shifted);
    const Floats large = sub(one, div(broadcast(2.0f), add(e, one)));
    return select_less(boundary, magnitude, copy_sign(large, x), small);
}

struct SquareSums {
    Floats lanes[kBlockVectors];
};

// Sixteen dimensions: mean and DyT in place, squares added to `squares`.
inline void apply_block(const HeadView& head, Floats token_count, const float* alpha,
                        const float* beta, const float* bias, float* row,
                        SquareSums& squares) noexcept {
    for (size_t v = 0; v < kBlockVectors; ++v) {
        const size_t dim = v * kLaneCount;
        Floats x = load(row + dim);
        if (head.mean) x = div(x, token_count);
        if (head.alpha) {
            x = add(mul(load(alpha + dim), x), load(bias + dim));
            x = mul(load(beta + dim), tanh_2ulp(x));
        }
        if (head.normalize) squares.lanes[v] = add(squares.lanes[v], mul(x, x));
        store(row + dim, x);
    }
}

inline float norm_of(const SquareSums& squares) noexcept {
    alignas(64) float sums[kBlockDims];
    for (size_t v = 0; v < kBlockVectors; ++v) store(sums + v * kLaneCount, squares.lanes[v]);
    for (size_t half = kBlockDims / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    const float norm = sqrtf(sums[0]);
    return norm < 1e-12f ? 1e-12f : norm;  // a NaN stays
}

void apply_head(const HeadView& head, size_t token_count, size_t dims, float* row) noexcept {
    // No token: the sum is 0 and so is the mean.
    const Floats count = broadcast(token_count == 0 ? 1.0f : static_cast<float>(token_count));
    SquareSums squares;
    for (Floats& lanes : squares.lanes) lanes = broadcast(0.0f);

    const size_t whole_dims = dims - dims % kBlockDims;
    const size_t edge_bytes = (dims - whole_dims) * sizeof(float);
    if (head.mean || head.alpha || head.normalize) {
        for (size_t dim = 0; dim < whole_dims; dim += kBlockDims)
            apply_block(head, count, head.alpha + dim, head.beta + dim, head.bias + dim, row + dim,
                        squares);
        if (edge_bytes > 0) {
            // Zeros beyond the row stay zeros, and add nothing to the squares.
            alignas(64) float edge[4][kBlockDims] = {};
            memcpy(edge[0], row + whole_dims, edge_bytes);
            if (head.alpha) {
                memcpy(edge[1], head.alpha + whole_dims, edge_bytes);
                memcpy(edge[2], head.beta + whole_dims, edge_bytes);
                memcpy(edge[3], head.bias + whole_dims, edge_bytes);
            }
            apply_block(head, count, edge[1], edge[2], edge[3], edge[0], squares);
            memcpy(row + whole_dims, edge[0], edge_bytes);
        }
    }
    if (!head.normalize) return;

    const float norm = norm_of(squares);
    size_t dim = 0;
    for (; dim + kLaneCount <= dims; dim += kLaneCount)
        store(row + dim, div(load(row + dim), broadcast(norm)));
    for (; dim < dims; ++dim) row[dim] /= norm;
}
