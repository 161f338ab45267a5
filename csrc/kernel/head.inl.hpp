// The head, on the lanes of the including file: x = sum / n, y = beta * tanh(alpha * x + bias),
// y / max(|y|, 1e-12), each step rounded to float32, none fused.
//
// Sixteen dimensions go at a time for every width of a lane group, so that the sum of squares is
// the same everywhere: running sum i holds the dimensions i mod 16, and the sixteen are added
// as a tree (i and i+8, i and i+4, i and i+2, the last two). Model2Vec's norm is NumPy's, whose
// additions have another order.

constexpr size_t kBlockDims = 16;
constexpr size_t kBlockVectors = kBlockDims / kLaneCount;
constexpr size_t kGroupDims = kHeadVectors * kLaneCount;

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
//
// One value takes some forty operations one after the other, so `kCount` vectors go through the
// steps side by side: the processor would not look far enough ahead to overlap them by itself.
template <size_t kCount>
inline void multiply_add(Floats (&p)[kCount], const Floats (&x)[kCount], float addend) noexcept {
    for (size_t v = 0; v < kCount; ++v) p[v] = add(mul(p[v], x[v]), broadcast(addend));
}

template <size_t kCount>
inline void tanh_2ulp(Floats (&x)[kCount]) noexcept {
    Floats square[kCount];
    Floats p[kCount];
    for (size_t v = 0; v < kCount; ++v) square[v] = mul(x[v], x[v]);
    for (size_t v = 0; v < kCount; ++v) p[v] = broadcast(-5.70498872745e-3f);
    multiply_add(p, square, 2.06390887954e-2f);
    multiply_add(p, square, -5.37397155531e-2f);
    multiply_add(p, square, 1.33314422036e-1f);
    multiply_add(p, square, -3.33332819422e-1f);
    for (size_t v = 0; v < kCount; ++v) p[v] = add(mul(mul(p[v], square[v]), x[v]), x[v]);

    const Floats boundary = broadcast(0.625f);
    Mask beyond[kCount];
    for (size_t v = 0; v < kCount; ++v) beyond[v] = less(boundary, abs(x[v]));
    Mask any_beyond = beyond[0];
    for (size_t v = 1; v < kCount; ++v) any_beyond = either(any_beyond, beyond[v]);
    if (!any(any_beyond)) {
        for (size_t v = 0; v < kCount; ++v) x[v] = p[v];
        return;
    }

    const Floats one = broadcast(1.0f);
    const Floats rounder = broadcast(12582912.0f);
    Floats shifted[kCount];
    Floats fraction[kCount];
    Floats e[kCount];
    for (size_t v = 0; v < kCount; ++v) {
        const Floats y = mul(min(abs(x[v]), broadcast(10.0f)), broadcast(2.885390081777927f));
        shifted[v] = add(y, rounder);
        fraction[v] = sub(y, sub(shifted[v], rounder));
        e[v] = broadcast(1.5353361959569156e-4f);
    }
    multiply_add(e, fraction, 1.3398873852565885e-3f);
    multiply_add(e, fraction, 9.61843691766262e-3f);
    multiply_add(e, fraction, 5.5503323674201965e-2f);
    multiply_add(e, fraction, 2.4022647738456726e-1f);
    multiply_add(e, fraction, 6.931471824645996e-1f);
    multiply_add(e, fraction, 1.0f);
    for (size_t v = 0; v < kCount; ++v) {
        const Floats exponential = add_to_exponent(e[v], shifted[v]);
        const Floats large = sub(one, div(broadcast(2.0f), add(exponential, one)));
        x[v] = select(beyond[v], copy_sign(large, x[v]), p[v]);
    }
}

struct SquareSums {
    Floats lanes[kBlockVectors];
};

// Mean and DyT in place from `dim` on, squares added to `squares`.
template <size_t kCount>
inline void apply_vectors(const HeadView& head, Floats token_count, size_t dim, float* row,
                          SquareSums& squares) noexcept {
    Floats x[kCount];
    row += dim;
    for (size_t v = 0; v < kCount; ++v) x[v] = load(row + v * kLaneCount);
    if (head.mean)
        for (size_t v = 0; v < kCount; ++v) x[v] = div(x[v], token_count);
    if (head.alpha) {
        const float* alpha = head.alpha + dim;
        const float* beta = head.beta + dim;
        const float* bias = head.bias + dim;
        for (size_t v = 0; v < kCount; ++v)
            x[v] = add(mul(load(alpha + v * kLaneCount), x[v]), load(bias + v * kLaneCount));
        tanh_2ulp(x);
        for (size_t v = 0; v < kCount; ++v) x[v] = mul(load(beta + v * kLaneCount), x[v]);
    }
    if (head.norm == Norm::torch) {
        for (size_t v = 0; v < kCount; ++v) {
            Floats& sum = squares.lanes[v % kBlockVectors];
            sum = add(sum, mul(x[v], x[v]));
        }
    }
    for (size_t v = 0; v < kCount; ++v) store(row + v * kLaneCount, x[v]);
}

inline float norm_of(const SquareSums& squares) noexcept {
    const float norm = sqrtf(tree_sum(squares.lanes));
    return norm < 1e-12f ? 1e-12f : norm;  // a NaN stays
}

// The nearest float16, half to even, as float32; beyond the largest one, infinity.
inline float rounded_to_float16(float number) noexcept {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    const uint32_t sign = bits & 0x80000000u;
    bits -= sign;
    if (bits >= 0x7f800000u) return number;
    if (bits < 0x38800000u) {
        // Below 2^-14 float16 has the multiples of 2^-24, as float32 has from 0.5 to 1.
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        magnitude = (magnitude + 0.5f) - 0.5f;
        memcpy(&bits, &magnitude, sizeof bits);
    } else {
        // Thirteen bits of the significand go; their carry may reach the exponent.
        bits = (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu;
        if (bits > 0x477fe000u) bits = 0x7f800000u;  // 65504 is the largest
    }
    bits |= sign;
    memcpy(&number, &bits, sizeof number);
    return number;
}

// Additions as NumPy's sum over a row has them, so that its bits come out: up to 128 numbers by
// eight running sums, of which neighbours are added, then theirs, then the rest one by one; more
// in two halves, the first of a multiple of eight.
float pairwise_square_sum(const float* row, size_t dims) noexcept {
    if (dims > 128) {
        const size_t half = dims / 2 - dims / 2 % 8;
        return pairwise_square_sum(row, half) + pairwise_square_sum(row + half, dims - half);
    }
    float sum = 0.0f;
    size_t dim = 0;
    if (dims >= 8) {
        float sums[8] = {};
        for (; dim + 8 <= dims; dim += 8)
            for (size_t i = 0; i < 8; ++i) sums[i] += row[dim + i] * row[dim + i];
        sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
              ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    }
    for (; dim < dims; ++dim) sum += row[dim] * row[dim];
    return sum;
}

void apply_head(const HeadView& head, size_t token_count, size_t dims, float* row) noexcept {
    // No token: the sum is 0 and so is the mean.
    const Floats count = broadcast(token_count == 0 ? 1.0f : static_cast<float>(token_count));
    SquareSums squares;
    for (Floats& lanes : squares.lanes) lanes = broadcast(0.0f);

    const size_t whole_dims = dims - dims % kBlockDims;
    const size_t edge_bytes = (dims - whole_dims) * sizeof(float);
    if (head.mean || head.alpha || head.norm == Norm::torch) {
        size_t dim = 0;
        for (; dim + kGroupDims <= whole_dims; dim += kGroupDims)
            apply_vectors<kHeadVectors>(head, count, dim, row, squares);
        for (; dim < whole_dims; dim += kBlockDims)
            apply_vectors<kBlockVectors>(head, count, dim, row, squares);
        if (edge_bytes > 0) {
            // Zeros beyond the row stay zeros, and add nothing to the squares.
            alignas(64) float edge[4][kBlockDims] = {};
            HeadView edge_head = head;
            memcpy(edge[0], row + whole_dims, edge_bytes);
            if (head.alpha) {
                memcpy(edge[1], head.alpha + whole_dims, edge_bytes);
                memcpy(edge[2], head.beta + whole_dims, edge_bytes);
                memcpy(edge[3], head.bias + whole_dims, edge_bytes);
                edge_head.alpha = edge[1];
                edge_head.beta = edge[2];
                edge_head.bias = edge[3];
            }
            apply_vectors<kBlockVectors>(edge_head, count, 0, edge[0], squares);
            memcpy(row + whole_dims, edge[0], edge_bytes);
        }
    }
    if (head.norm == Norm::none) return;

    if (head.norm == Norm::model2vec_float16)
        for (size_t dim = 0; dim < dims; ++dim) row[dim] = rounded_to_float16(row[dim]);
    const float norm = head.norm == Norm::torch ? norm_of(squares)
                                                : sqrtf(pairwise_square_sum(row, dims)) + 1e-32f;
    size_t dim = 0;
    for (; dim + kLaneCount <= dims; dim += kLaneCount)
        store(row + dim, div(load(row + dim), broadcast(norm)));
    for (; dim < dims; ++dim) row[dim] /= norm;
}
