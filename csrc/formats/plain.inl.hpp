// The sum of rows that hold plain numbers, on the lanes of the including file.
//
// A float32 row is dim numbers, little-endian, not necessarily aligned. A tile of dimensions
// stays in registers over all tokens of the bag; each dimension gets its rows in token order.

// Unless the loops over a tile's vectors are unrolled, the sums live in memory. GCC by itself
// unrolls loops so long only after it has decided what may live in registers.
#if defined(__GNUC__)
#define NIBBLEVEC_UNROLL _Pragma("GCC unroll 16")
#else
#define NIBBLEVEC_UNROLL
#endif

// Only the smallest tile may reach beyond the row.
template <size_t kVectors, bool kWeighted>
inline void add_float32_tile(const TableView& table, const uint32_t* ids, const float* weights,
                             size_t token_count, size_t ids_beyond, size_t first_dim, size_t dims,
                             bool resume, float* sum) noexcept {
    constexpr size_t kTileDims = kVectors * kLaneCount;
    constexpr size_t kTileBytes = kTileDims * sizeof(float);
    const size_t tile_dims = dims - first_dim < kTileDims ? dims - first_dim : kTileDims;
    const bool partial = kVectors == 1 && tile_dims < kTileDims;
    alignas(64) float edge[kTileDims];
    if (partial && resume) memcpy(edge, sum + first_dim, tile_dims * sizeof(float));
    float* tile_sum = partial ? edge : sum + first_dim;

    Floats sums[kVectors];
    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v)
        sums[v] = resume ? load(tile_sum + v * kLaneCount) : broadcast(0.0f);

    const uint8_t* rows = table.rows + first_dim * sizeof(float);
    for (size_t t = 0; t < token_count; ++t) {
        if (t + kPrefetchTokens < token_count + ids_beyond)
            prefetch(rows + ids[t + kPrefetchTokens] * table.row_bytes, kTileBytes);
        const uint8_t* numbers = rows + ids[t] * table.row_bytes;
        uint8_t copy[kTileBytes];
        if (partial && ids[t] >= table.overreadable_rows) {
            memset(copy, 0, sizeof copy);
            memcpy(copy, numbers, tile_dims * sizeof(float));
            numbers = copy;
        }
        Floats weight = broadcast(1.0f);
        if (kWeighted) weight = broadcast(weights[t]);
    NIBBLEVEC_UNROLL
        for (size_t v = 0; v < kVectors; ++v) {
            Floats row = load_bytes(numbers + v * kLaneCount * sizeof(float));
            if (kWeighted) row = mul(row, weight);
            sums[v] = add(sums[v], row);
        }
    }

    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v) store(tile_sum + v * kLaneCount, sums[v]);
    if (partial) memcpy(sum + first_dim, edge, tile_dims * sizeof(float));
}

template <bool kWeighted>
inline void sum_float32_tiles(const TableView& table, const uint32_t* ids, const float* weights,
                              size_t token_count, size_t ids_beyond, size_t dims, bool resume,
                              float* sum) noexcept {
    constexpr size_t kLargest = kFloat32TileVectors;
    size_t dim = 0;
    for (; dims - dim >= kLargest * kLaneCount; dim += kLargest * kLaneCount)
        add_float32_tile<kLargest, kWeighted>(table, ids, weights, token_count, ids_beyond, dim,
                                              dims, resume, sum);
    for (; dims - dim >= 4 * kLaneCount; dim += 4 * kLaneCount)
        add_float32_tile<4, kWeighted>(table, ids, weights, token_count, ids_beyond, dim, dims,
                                       resume, sum);
    for (; dim < dims; dim += kLaneCount)
        add_float32_tile<1, kWeighted>(table, ids, weights, token_count, ids_beyond, dim, dims,
                                       resume, sum);
}

void sum_float32(const TableView& table, const uint32_t* ids, const float* weights,
                 size_t token_count, size_t ids_beyond, size_t dims, bool resume,
                 float* sum) noexcept {
    if (weights)
        sum_float32_tiles<true>(table, ids, weights, token_count, ids_beyond, dims, resume, sum);
    else
        sum_float32_tiles<false>(table, ids, weights, token_count, ids_beyond, dims, resume, sum);
}

#undef NIBBLEVEC_UNROLL
